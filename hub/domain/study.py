"""A study from proposal to release. Pure and frozen: `apply` takes recorded statements, `next_step` says what follows.

proposed -> approved -> keying -> running -> completed | aborted | expired
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

from hub.domain import round as rounds
from hub.domain.round import MAX_ATTEMPTS, Retry, Round
from hub.domain.says import CloseStudy, OpenRound, Say, StartKeying
from hub.errors import Conflict, Expired, Forbidden
from protocol.ids import moment
from protocol.rounds import last_round
from protocol.routes import StudyState
from protocol.statements import (
    Body,
    ReleaseApproved,
    ReleaseRequested,
    ReleaseSealed,
    RoundClosed,
    SecretCommitment,
    SecretSealed,
    Signed,
    StudyAccepted,
    StudyApproved,
    StudyClosed,
    StudyKeying,
    StudyRefused,
    StudyWithdrawn,
)
from protocol.study import StudyContract

CanPay = Callable[[str, int], bool]
"""Whether the mirrored budget of a silo (name) pays for a round (index)."""

FINAL = ("completed", "aborted", "expired")


@dataclass(frozen=True, slots=True)
class Study:
    """`accepted` and `keying` stand in the order of the log; the first of `keying` is the key silo.

    `refused`: silo -> rule and reason. `left`: silo -> why it withdrew. `release_approvals`: silo -> commitment.
    `released`: person -> blob digest.
    """

    id: str
    contract: StudyContract
    proposed_at: int
    stage: StudyState = "proposed"
    approvals: tuple[str, ...] = ()
    accepted: tuple[str, ...] = ()
    refused: Mapping[str, str] = field(default_factory=dict)
    withdrawn: tuple[str, ...] = ()
    left: Mapping[str, str] = field(default_factory=dict)
    keyed_at: int | None = None
    keying: tuple[str, ...] = ()
    sealed_for: tuple[str, ...] = ()
    commitments: Mapping[str, str] = field(default_factory=dict)
    suspended: tuple[str, ...] = ()
    reason: str | None = None
    release_requested: bool = False
    release_approvals: Mapping[str, str] = field(default_factory=dict)
    released: Mapping[str, str] = field(default_factory=dict)
    closed_at: int | None = None

    @property
    def active(self) -> tuple[str, ...]:
        """Silos that take part in what comes next, in the order of the contract."""
        out = {*self.withdrawn, *self.suspended}
        return tuple(silo for silo in self.contract.silo_names if silo in self.keying and silo not in out)


def apply(state: Study, signed: Signed, now: int) -> Study:
    """The study after a recorded statement. Raises `Conflict`, `Forbidden` or `Expired` for one that doesn't fit."""
    body = signed.body
    if not isinstance(body, StudyClosed) and state.stage not in FINAL and now >= _end(state.contract):
        raise Expired(f"{body.type}: the contract ended at {state.contract.expires_at}")
    match body:
        case StudyApproved():
            return replace(state, stage=_moved(state, "proposed", "approved", body), approvals=(body.issuer,))
        case StudyAccepted() | StudyRefused() | StudyWithdrawn():
            return _decided(state, body)
        case StudyKeying():
            return replace(state, stage=_moved(state, "approved", "keying", body), keying=body.silos, keyed_at=now)
        case SecretSealed() | SecretCommitment():
            return _keyed(state, body)
        case RoundClosed():
            return replace(
                state, suspended=(*state.suspended, *(s for s in body.suspended if s not in state.suspended))
            )
        case StudyClosed():
            return replace(state, stage=body.outcome, reason=body.reason, closed_at=now)
        case ReleaseRequested() | ReleaseApproved() | ReleaseSealed():
            return _released(state, body)
    raise Conflict(f"a {body.type} doesn't change a study")


def started(state: Study) -> Study:
    """The study at the opening of its first round."""
    return replace(state, stage="running")


def next_step(state: Study, round: Round | None, can_pay: CanPay, now: int) -> Say | None:
    """What the hub has to say now, or None while somebody is still awaited."""
    if state.stage in FINAL:
        return None
    if now >= _end(state.contract):
        return CloseStudy("expired", f"the contract ended at {state.contract.expires_at}")
    match state.stage:
        case "approved":
            return _from_approved(state)
        case "keying":
            return _from_keying(state, can_pay, now)
        case "running" if round is not None:
            return _from_running(state, round, can_pay, now)
    return None


def release_ready(state: Study) -> tuple[str, ...]:
    """The silos that confirmed one and the same bundle, if they are enough for the contract's rule; else none."""
    for commitment in set(state.release_approvals.values()):
        silos = tuple(silo for silo, theirs in state.release_approvals.items() if theirs == commitment)
        if len(silos) >= state.contract.release.approvals:
            return silos
    return ()


def keying_limit_s(contract: StudyContract) -> int:
    """How long the silos have to share the key: three steps (seal, open, commit), and never under a minute."""
    return max(60, 3 * contract.schedule.step_timeout_s)


def _end(contract: StudyContract) -> int:
    return int(moment(contract.expires_at).timestamp())


def _from_approved(state: Study) -> Say | None:
    named, quorum = len(state.contract.silos), state.contract.schedule.quorum
    if named - len(state.refused) < quorum:
        return CloseStudy("aborted", f"{len(state.refused)} of {named} silos refused, {quorum} are needed")
    if len(state.refused) + len(state.accepted) < named:
        return None
    return StartKeying(state.accepted)


def _from_keying(state: Study, can_pay: CanPay, now: int) -> Say | None:
    """The first round, once all hold the key, or their time for it has passed and a quorum with the key silo does."""
    present = state.active
    if len(present) < state.contract.schedule.quorum:
        return CloseStudy("aborted", "too few silos are left to share a key")
    if state.keying[0] not in present and set(present) - set(state.sealed_for):
        return CloseStudy("aborted", "the key silo left before it had sealed the key for all")
    holding = [silo for silo in present if silo in state.commitments]
    if len(holding) < len(present):
        if now < (state.keyed_at or now) + keying_limit_s(state.contract):
            return None
        if len(holding) < state.contract.schedule.quorum or state.keying[0] not in state.commitments:
            return CloseStudy("aborted", f"only {len(holding)} silos committed to the study key in time")
    if len({state.commitments[silo] for silo in holding}) > 1:
        return CloseStudy("aborted", "the silos' commitments to the study secret differ")
    return _open(state, 0, 1, can_pay)


def _from_running(state: Study, round: Round, can_pay: CanPay, now: int) -> Say | None:
    if round.state == "closed":
        if round.index >= last_round(state.contract):
            return CloseStudy("completed", "all rounds are done")
        return _open(state, round.index + 1, 1, can_pay)
    step = rounds.next_step(round, state.contract.schedule.quorum, state.withdrawn, now)
    if not isinstance(step, Retry):
        return step
    if round.attempt >= MAX_ATTEMPTS:
        return CloseStudy("aborted", f"quorum not reached in round {round.index}: {step.why}")
    return _open(state, round.index, round.attempt + 1, can_pay)


def _open(state: Study, index: int, attempt: int, can_pay: CanPay) -> Say:
    quorum = state.contract.schedule.quorum
    key = state.commitments.get(state.keying[0])
    able = tuple(silo for silo in state.active if state.commitments.get(silo) == key)
    if len(able) < quorum:
        return CloseStudy("aborted", f"quorum not reached: {len(able)} silos are left, {quorum} are needed")
    paying = tuple(silo for silo in able if can_pay(silo, index))
    if len(paying) < quorum:
        return CloseStudy(
            "aborted", f"round {index}: the budgets of {len(paying)} silos pay for it, {quorum} are needed"
        )
    return OpenRound(index, attempt, paying)


def _moved(state: Study, wanted: StudyState, to: StudyState, body: Body) -> StudyState:
    _require_stage(state, body, wanted)
    return to


def _require_stage(state: Study, body: Body, *wanted: StudyState) -> None:
    if state.stage not in wanted:
        raise Conflict(f"{body.type}: the study is {state.stage}, not {' or '.join(wanted)}")


def _silo_of(state: Study, body: Body, among: tuple[str, ...]) -> str:
    silo = body.issuer.removeprefix("silo:")
    if silo not in among:
        raise Forbidden(f"{body.type}: silo {silo} has no part in this step of the study")
    return silo


def _decided(state: Study, body: StudyAccepted | StudyRefused | StudyWithdrawn) -> Study:
    silo = _silo_of(state, body, state.contract.silo_names)
    if isinstance(body, StudyWithdrawn):
        _require_stage(state, body, "approved", "keying", "running")
        if silo not in state.accepted or silo in state.withdrawn:
            raise Conflict(f"{body.type}: silo {silo} doesn't take part")
        if state.stage == "approved":
            accepted = tuple(name for name in state.accepted if name != silo)
            return replace(state, accepted=accepted, refused={**state.refused, silo: f"withdrawn: {body.reason}"})
        return replace(state, withdrawn=(*state.withdrawn, silo), left={**state.left, silo: body.reason})
    _require_stage(state, body, "approved")
    if silo in state.accepted or silo in state.refused:
        raise Conflict(f"{body.type}: silo {silo} has decided before; withdraw instead")
    if isinstance(body, StudyRefused):
        return replace(state, refused={**state.refused, silo: f"{body.rule}: {body.reason}"})
    return replace(state, accepted=(*state.accepted, silo))


def _keyed(state: Study, body: SecretSealed | SecretCommitment) -> Study:
    # A silo that was away while the others agreed on the key may still take it, and join the next round.
    _require_stage(state, body, "keying", "running")
    silo = _silo_of(state, body, state.active)
    if isinstance(body, SecretCommitment):
        if silo in state.commitments:
            raise Conflict(f"{body.type}: silo {silo} has committed before")
        return replace(state, commitments={**state.commitments, silo: body.commitment})
    if silo != state.keying[0]:
        raise Forbidden(f"{body.type}: silo {state.keying[0]} makes this study's key, not {silo}")
    if body.recipient not in state.keying[1:] or body.recipient in state.sealed_for:
        raise Conflict(f"{body.type}: recipient {body.recipient} needs no key, or has it")
    return replace(state, sealed_for=(*state.sealed_for, body.recipient))


def _released(state: Study, body: ReleaseRequested | ReleaseApproved | ReleaseSealed) -> Study:
    _require_stage(state, body, "completed")
    if isinstance(body, ReleaseRequested):
        if state.release_requested:
            raise Conflict(f"{body.type}: the release was requested before")
        return replace(state, release_requested=True)
    silo = _silo_of(state, body, state.active)
    if not state.release_requested:
        raise Conflict(f"{body.type}: nobody requested the release")
    if isinstance(body, ReleaseApproved):
        if silo in state.release_approvals:
            raise Conflict(f"{body.type}: silo {silo} has approved before")
        return replace(state, release_approvals={**state.release_approvals, silo: body.commitment})
    if silo not in release_ready(state):
        raise Conflict(f"{body.type}: {state.contract.release.approvals} silos must confirm the same bundle first")
    if body.recipient not in state.contract.recipients or body.recipient in state.released:
        raise Conflict(f"{body.type}: {body.recipient} is no recipient, or has the bundle")
    return replace(state, released={**state.released, body.recipient: body.blob})
