"""The hub's own statements: what the domain decided, timed, numbered and signed with the hub's key."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal, cast

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.domain.says import CloseRound, CloseStudy, FreezeRound, OpenRound, Say, ServeSum, StartKeying
from protocol.ids import timestamp
from protocol.statements import (
    Body,
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    Signed,
    StudyClosed,
    StudyKeying,
    SumServed,
    sign,
)


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
        nonce = self.nonce()
        match say:
            case StartKeying(silos):
                return StudyKeying(
                    type="study-keying",
                    issuer="hub",
                    issued_at=now,
                    nonce=nonce,
                    journal_head=None,
                    study=study,
                    silos=silos,
                )
            case OpenRound(index, attempt, silos):
                return RoundOpened(
                    type="round-opened",
                    issuer="hub",
                    issued_at=now,
                    nonce=nonce,
                    journal_head=None,
                    study=study,
                    round=index,
                    attempt=attempt,
                    silos=silos,
                    due_at=due_at,
                )
            case FreezeRound(index, attempt, ready, base):
                return RoundFrozen(
                    type="round-frozen",
                    issuer="hub",
                    issued_at=now,
                    nonce=nonce,
                    journal_head=None,
                    study=study,
                    round=index,
                    attempt=attempt,
                    ready=dict(ready),
                    base=base,
                    due_at=due_at,
                )
            case ServeSum(index, attempt, survivors):
                return SumServed(
                    type="sum-served",
                    issuer="hub",
                    issued_at=now,
                    nonce=nonce,
                    journal_head=None,
                    study=study,
                    round=index,
                    attempt=attempt,
                    survivors=survivors,
                    chunks=chunks,
                    due_at=due_at,
                )
            case CloseRound(index, attempt, agreed, suspended):
                return RoundClosed(
                    type="round-closed",
                    issuer="hub",
                    issued_at=now,
                    nonce=nonce,
                    journal_head=None,
                    study=study,
                    round=index,
                    attempt=attempt,
                    agreed=agreed,
                    suspended=suspended,
                )
            case CloseStudy(outcome, reason):
                return StudyClosed(
                    type="study-closed",
                    issuer="hub",
                    issued_at=now,
                    nonce=nonce,
                    journal_head=None,
                    study=study,
                    outcome=cast(Literal["completed", "aborted", "expired"], outcome),
                    reason=reason,
                )
