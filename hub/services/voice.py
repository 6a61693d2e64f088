"""The hub's own statements: what the domain decided, timed, numbered and signed with the hub's key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.domain.says import CloseRound, CloseStudy, FreezeRound, OpenRound, Say, ServeSum, StartKeying, VoidRound
from protocol.ids import timestamp
from protocol.round_statements import RoundClosed, RoundFrozen, RoundOpened, RoundVoided, SumServed
from protocol.signing import Signed, sign
from protocol.statements import Body
from protocol.study_statements import StudyClosed, StudyKeying


@dataclass(frozen=True, slots=True)
class Voice:
    """`nonce` gives 32 fresh hexadecimal characters at each call."""

    key: Ed25519PrivateKey = field(repr=False)
    nonce: Callable[[], str]

    def say(self, say: Say, study: str, now: datetime, step_timeout_s: int, chunks: Sequence[str] = ()) -> Signed:
        """The statement of `say`; `chunks` are the digests of the sum's chunks when one is served."""
        # Whole seconds on the wire: rounding up never takes time from a silo.
        due_at = timestamp(now + timedelta(seconds=step_timeout_s + 1))
        return sign(self._body(say, study, timestamp(now), due_at, tuple(chunks)), self.key)

    def _body(self, say: Say, study: str, now: str, due_at: str, chunks: tuple[str, ...]) -> Body:
        heading: dict[str, Any] = {"issuer": "hub", "issued_at": now, "nonce": self.nonce(), "journal_head": None}
        heading["study"] = study
        match say:
            case StartKeying(epoch, silos):
                return StudyKeying(type="study-keying", epoch=epoch, silos=silos, **heading)
            case CloseStudy(outcome, reason):
                ended = cast(Literal["completed", "aborted", "expired"], outcome)
                return StudyClosed(type="study-closed", outcome=ended, reason=reason, **heading)
        heading |= {"round": say.index, "attempt": say.attempt}
        match say:
            case OpenRound():
                return RoundOpened(type="round-opened", silos=say.silos, due_at=due_at, **heading)
            case FreezeRound():
                ready = dict(say.ready)
                return RoundFrozen(type="round-frozen", ready=ready, base=say.base, due_at=due_at, **heading)
            case ServeSum():
                survivors = say.survivors
                return SumServed(type="sum-served", survivors=survivors, chunks=chunks, due_at=due_at, **heading)
            case CloseRound():
                return RoundClosed(type="round-closed", agreed=say.agreed, suspended=say.suspended, **heading)
            case VoidRound():
                return RoundVoided(type="round-voided", reason=say.why, suspended=say.suspended, **heading)
