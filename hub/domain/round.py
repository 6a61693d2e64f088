"""One round, one attempt at a time: open -> frozen -> served -> closed | voided. Pure and frozen.

Before it says that it is ready, a silo deals its mask secrets: a bundle of Shamir shares that the hub relays. The sum
is served masked; once a quorum of its silos signed it, those reveal shares, and everybody opens it. A sum that doesn't
verify, or that no quorum opens in time, makes the round void.

`apply` takes recorded statements, silos' and the hub's own; `round_step` says what follows. So a hub that was killed
anywhere goes on from its rows alone.
"""

from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from hub.errors import BadRequest, Conflict, Forbidden
from protocol.ids import moment
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    RoundVoided,
    SharesRevealed,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.rounds import freeze_digest, round_layout
from protocol.sealing.shares import SHARE_BYTES
from protocol.sealing.sharing import SEALED_REVEAL_OVERHEAD
from protocol.signing import Signed
from protocol.study import StudyContract

RoundState = Literal["open", "frozen", "served", "closed", "voided"]
OVER = ("closed", "voided")
MAX_ATTEMPTS = 3

Unmasking = SurvivorsSigned | SharesRevealed
RoundStatement = RoundReady | UploadComplete | Unmasking | SumVerified | VerificationFailed


@dataclass(frozen=True, slots=True)
class Round:
    """`dealt`: silo -> digest of its bundle of shares. `ready`: silo -> digest of its ready statement.

    `frozen` is U of sealed-sum.md, `survivors` U3, `dropped` silos of U whose chunks can't be added; `signed` took
    U3 for the round's and `revealed` their shares. `answers`: silo -> its state MAC, None for a failure; `blames`: whom
    those that failed blame. Times are Unix seconds.
    """

    study: str
    index: int
    attempt: int
    state: RoundState
    silos: tuple[str, ...]
    opened_at: int
    due_at: int
    base: str
    dealt: Mapping[str, str] = field(default_factory=dict)
    ready: Mapping[str, str] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    freeze: str = ""
    complete: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    survivors: tuple[str, ...] = ()
    sum: str = ""
    signed: tuple[str, ...] = ()
    revealed: tuple[str, ...] = ()
    answers: Mapping[str, str | None] = field(default_factory=dict)
    blames: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    agreed: tuple[str, ...] = ()
    closed_at: int | None = None


def opened(body: RoundOpened, base: str, now: int) -> Round:
    due = int(moment(body.due_at).timestamp())
    return Round(body.study, body.round, body.attempt, "open", body.silos, now, due, base)


def apply(state: Round, contract: StudyContract, signed: Signed, now: int) -> Round:
    """The round after a recorded statement. Raises `Conflict` or `Forbidden` for one that doesn't fit."""
    body = signed.body
    match body:
        case RoundFrozen():
            return _frozen(state, contract, body)
        case SumServed():
            due = int(moment(body.due_at).timestamp())
            return replace(state, state="served", survivors=body.survivors, sum=signed.digest, due_at=due)
        case RoundClosed():
            return replace(state, state="closed", agreed=body.agreed, closed_at=now)
        case RoundVoided():
            return replace(state, state="voided", closed_at=now)
        case SurvivorsSigned() | SharesRevealed():
            return _unmasked(state, contract, body, now)
        case RoundReady() | UploadComplete() | SumVerified() | VerificationFailed():
            return _answered(state, contract, body, signed.digest, now)
    raise Conflict(f"a {body.type} doesn't change a round")


def deal(state: Round, silo: str, digest: str) -> Round:
    """The round with a silo's bundle of shares, which its ready statement must name."""
    return replace(state, dealt={**state.dealt, silo: digest})


def turned(before: Round | None, after: Round | None, quorum: int) -> bool:
    """Whether a quorum, or the last silo, has just signed or revealed: what the others wait for to go on."""
    if before is None or after is None or (before.index, before.attempt) != (after.index, after.attempt):
        return False
    marks = (quorum, len(after.survivors))
    steps = ((before.signed, after.signed), (before.revealed, after.revealed))
    return any(len(old) < len(new) and len(new) in marks for old, new in steps)


def drop(state: Round, silo: str) -> Round:
    """The round without a silo whose chunk can't be added."""
    if state.state != "frozen" or silo in state.dropped:
        return state
    return replace(state, dropped=(*state.dropped, silo))


def step_end(now: int, contract: StudyContract) -> int:
    """When a step that begins at ``now`` (Unix seconds, rounded down) is due: whole seconds never take time from it."""
    return now + contract.schedule.step_timeout_s + 1


def extend(state: Round, due_at: int) -> Round:
    """The round with more time: the hub was away when it fell due, so nobody could answer."""
    return replace(state, due_at=max(state.due_at, due_at))


def _answered(
    state: Round,
    contract: StudyContract,
    body: RoundReady | UploadComplete | SumVerified | VerificationFailed,
    digest: str,
    now: int,
) -> Round:
    silo = _speaker(state, body)
    match body:
        case RoundReady():
            _require(state, "open", silo, state.silos, state.ready, body.type)
            if state.dealt.get(silo) != body.shares:
                raise Conflict(
                    "round-ready: shares names no bundle that arrived; PUT the bundle of shares, then say it"
                )
            return replace(state, ready={**state.ready, silo: digest})
        case UploadComplete():
            _require(state, "frozen", silo, state.frozen, state.complete, body.type)
            if body.freeze != state.freeze:
                raise Conflict("upload-complete: freeze is not this attempt's; seal the update anew")
            if now >= state.due_at:
                raise Conflict(
                    f"upload-complete: attempt {state.attempt} ended before; silo {silo} joins the next round"
                )
            if silo in state.dropped:
                raise Conflict(
                    "upload-complete: a chunk of this upload couldn't be added; the round goes on without it"
                )
            return replace(state, complete=(*state.complete, silo))
        case SumVerified() | VerificationFailed():
            _require(state, "served", silo, state.survivors, state.answers, body.type)
            _require_sum(state, body)
            if isinstance(body, VerificationFailed):
                blames = {**state.blames, silo: body.blamed}
                return replace(state, answers={**state.answers, silo: None}, blames=blames)
            if len(state.revealed) < contract.schedule.quorum:
                raise Conflict(f"{body.type}: a quorum has not revealed its shares yet; nobody can have opened the sum")
            return replace(state, answers={**state.answers, silo: body.state_mac})


def _unmasked(state: Round, contract: StudyContract, body: Unmasking, now: int) -> Round:
    silo, quorum = _speaker(state, body), contract.schedule.quorum
    done = state.signed if isinstance(body, SurvivorsSigned) else state.revealed
    _require(state, "served", silo, state.survivors, done, body.type)
    _require_sum(state, body)
    if silo in failed(state):
        raise Conflict(f"{body.type}: silo {silo} said before that this sum didn't verify")
    if isinstance(body, SurvivorsSigned):
        signed = (*state.signed, silo)
        # Revealing and opening get a step's time of their own once they can begin.
        due = max(state.due_at, step_end(now, contract)) if len(signed) == quorum else state.due_at
        return replace(state, signed=signed, due_at=due)
    if silo not in state.signed:
        raise Conflict(f"{body.type}: silo {silo} hasn't signed the survivors; send survivors-signed first")
    if len(state.signed) < quorum:
        raise Conflict(f"{body.type}: {len(state.signed)} silos signed the survivors, {quorum} must before any reveals")
    _check_shares(state, body)
    return replace(state, revealed=(*state.revealed, silo))


def _check_shares(state: Round, body: SharesRevealed) -> None:
    size = SHARE_BYTES * len(state.frozen) + SEALED_REVEAL_OVERHEAD
    try:
        found = len(b64decode(body.shares, validate=True))
    except ValueError:
        raise BadRequest(f"{body.type}: shares is not Base64 with its padding") from None
    if found != size:
        raise BadRequest(f"{body.type}: shares has {found} bytes, {len(state.frozen)} frozen silos make it {size}")


def _speaker(state: Round, body: RoundStatement) -> str:
    if (body.round, body.attempt) != (state.index, state.attempt):
        raise Conflict(
            f"{body.type}: round {body.round} attempt {body.attempt} isn't under way, round {state.index} attempt "
            f"{state.attempt} is"
        )
    return body.issuer.removeprefix("silo:")


def _require_sum(state: Round, body: Unmasking | SumVerified | VerificationFailed) -> None:
    if body.sum != state.sum:
        raise Conflict(f"{body.type}: sum is not the digest of this attempt's sum-served statement")


def failed(state: Round) -> list[str]:
    """The silos at which the sum didn't verify."""
    return [silo for silo, mac in state.answers.items() if mac is None]


def _require(
    state: Round,
    wanted: RoundState,
    silo: str,
    named: tuple[str, ...],
    done: Mapping[str, object] | tuple[str, ...],
    what: str,
) -> None:
    if silo not in named:
        raise Forbidden(f"{what}: silo {silo} is not part of round {state.index} attempt {state.attempt}")
    if state.state != wanted:
        raise Conflict(f"{what}: round {state.index} attempt {state.attempt} is {state.state}, not {wanted}")
    if silo in done:
        raise Conflict(f"{what}: silo {silo} has given another one for round {state.index} attempt {state.attempt}")


def _frozen(state: Round, contract: StudyContract, body: RoundFrozen) -> Round:
    silos = tuple(sorted(body.ready))
    digest = freeze_digest(
        study=state.study,
        index=state.index,
        attempt=state.attempt,
        silos=silos,
        ready=body.ready,
        layout=round_layout(contract, state.index, len(silos)),
        base=body.base,
    )
    due = int(moment(body.due_at).timestamp())
    return replace(state, state="frozen", frozen=silos, freeze=digest.hex(), due_at=due)
