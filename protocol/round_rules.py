"""What may be said in one round, by rules 6 to 9 of ``protocol.record``. Each function takes one statement in."""

from collections import Counter

from protocol.errors import RuleBroken
from protocol.keying import convicted, tolerated
from protocol.round_record import RoundRecord
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundVoided,
    SharesRevealed,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    VerificationFailed,
)
from protocol.rounds import plan_round
from protocol.study import StudyContract


def require(holds: bool, reason: str) -> None:
    """Raises ``RuleBroken`` with ``reason`` unless ``holds``."""
    if not holds:
        raise RuleBroken(reason)


def freeze(one: RoundRecord, body: RoundFrozen, quorum: int, base: str) -> None:
    """Rule 6; ``base`` is the total before."""
    what = f"rule 6: round {one.index}"
    require(one.frozen is None, f"{what} was frozen twice")
    require(len(body.ready) >= quorum, f"{what} was frozen below the quorum")
    for silo, digest in body.ready.items():
        require(one.ready.get(silo) == digest, f"{what} names a ready statement of {silo} that is not in the log")
    require(body.base == base, f"{what} is frozen on another total than the one before")
    one.frozen = body


def serve(one: RoundRecord, body: SumServed, digest: str, quorum: int, chunks: int) -> None:
    """Rule 8; ``digest`` names the statement, ``chunks`` is how many the round's layout has."""
    what = f"rule 8: round {one.index}"
    require(one.served is None, f"{what} was served twice: their difference would be a term")
    ordered = list(body.survivors) == sorted(set(body.survivors)) and set(body.survivors) <= set(one.uploads)
    require(ordered, f"{what} was served with silos that had not completed their upload")
    require(len(body.survivors) >= quorum, f"{what} was served below the quorum")
    require(len(body.chunks) == chunks, f"{what} has {len(body.chunks)} chunks, its layout {chunks}")
    one.served, one.served_digest = body, digest


def unmask(one: RoundRecord, body: SurvivorsSigned | SharesRevealed, who: str, quorum: int) -> None:
    """Rule 8, after the sum was served."""
    what = f"rule 8: round {one.index}"
    require(one.served is not None and body.sum == one.served_digest, f"{what}: {who} names a sum that was not served")
    require(who in one.total_served.survivors, f"{what}: {who} is not of the sum that it speaks of")
    if isinstance(body, SurvivorsSigned):
        one.signed.add(who)
        return
    require(who in one.signed, f"{what}: {who} revealed shares and did not sign the survivors")
    enough = len(one.signed) >= quorum
    require(enough, f"{what}: {who} revealed shares before a quorum had signed the survivors")
    require(who not in one.revealed, f"{what}: {who} revealed shares twice")
    one.revealed[who] = body


def answer(one: RoundRecord, body: SumVerified | VerificationFailed, who: str, quorum: int) -> None:
    """Rule 9: a silo's word on the sum."""
    named = one.served is not None and body.sum == one.served_digest
    require(named and who in one.total_served.survivors, f"rule 9: {who} names another sum, or is not of it")
    if isinstance(body, SumVerified):
        require(len(one.revealed) >= quorum, f"rule 9: {who} opened a sum before a quorum had revealed its shares")
        require(one.macs.setdefault(who, body.state_mac) == body.state_mac, f"rule 9: {who} says two states")
    else:
        one.failed[who] = body.blamed


def close(one: RoundRecord, body: RoundClosed, at: str, quorum: int) -> None:
    """Rule 9: a total that counts."""
    what = f"rule 9: round {one.index}"
    require(one.served is not None and not one.over, f"{what} was closed without a total, or twice")
    states = {one.macs.get(silo) for silo in body.agreed}
    require(len(states) == 1 and None not in states, f"{what}: the agreed silos did not log one state")
    require(len(set(body.agreed)) >= quorum, f"{what} was closed below the quorum")
    require(len(one.signed) >= quorum, f"{what} was closed before a quorum had signed its survivors")
    require(not set(body.agreed) & set(body.suspended), f"{what}: a silo is agreed and suspended at once")
    one.closed, one.closed_at = body, at


def void(one: RoundRecord, body: RoundVoided, at: str, contract: StudyContract) -> None:
    """Rule 9: a total that doesn't count."""
    what = f"rule 9: round {one.index}"
    require(one.served is not None and not one.over, f"{what} was voided without a total, or after its end")
    training = plan_round(contract, one.index).stage == "training"
    require(training, f"{what} was voided; without its total the study has to end")
    most = max(Counter(one.macs.values()).values(), default=0)
    require(most < contract.schedule.quorum, f"{what} was voided after a quorum had logged one state")
    out = convicted(one.failed, tolerated(contract))
    require(body.suspended == out, f"{what} was voided with other silos suspended than those that enough blamed")
    one.voided, one.closed_at = body, at
