"""The course of a study: a recorded statement moves it, and the hub says, in the same transaction, what follows.

So nothing is decided outside a commit, and after a kill -9 the rows alone say what comes next.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from hub.aggregation.quorum import survivors_digest
from hub.domain import round as rounds
from hub.domain import study as studies
from hub.domain import study_step
from hub.domain.round import OVER, Round
from hub.domain.says import Say, ServeSum
from hub.domain.study import Study
from hub.errors import Conflict
from hub.services.budgets import Budgets
from hub.services.recorder import Recording
from hub.services.voice import Voice
from hub.store import rounds as round_store
from hub.store import studies as study_store
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    RoundVoided,
    SharesRevealed,
    SpendReserved,
    SpendSettled,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.rounds import round_layout
from protocol.signing import Signed

NO_BASE = "0" * 64
ROUND_STATEMENTS = (
    RoundFrozen,
    SumServed,
    RoundClosed,
    RoundVoided,
    RoundReady,
    UploadComplete,
    SurvivorsSigned,
    SharesRevealed,
    SumVerified,
    VerificationFailed,
)


@dataclass(frozen=True, slots=True)
class Standing:
    """A study and its newest round, with the versions of their rows (None for a round not stored yet)."""

    study: Study
    study_version: int
    round: Round | None
    round_version: int | None
    finished: Round | None = None
    """The round before `round`, when this transaction closed it."""


@dataclass(slots=True)
class Course:
    """`wake` is called after a commit with a study whose round has chunks to add or blobs to delete.

    `voice` speaks as the hub under the charter in force at this point of a transaction.
    """

    budgets: Budgets
    voice: Callable[[Connection], Voice]
    wake: Callable[[str], None] = lambda study: None

    def take(self, recording: Recording, signed: Signed, study: str) -> int:
        """Record a party's statement about a study, move the study, and say what follows."""
        before = self.load(recording, study)
        index = recording.record(signed)
        after = self._apply(recording, before, signed)
        if rounds.turned(before.round, after.round, before.study.contract.schedule.quorum):
            recording.turns.append(index)
        self.settle(recording, before, after)
        return index

    def advance(self, recording: Recording, study: str) -> None:
        """Say what follows from time alone, or from chunks that were added."""
        before = self.load(recording, study)
        self.settle(recording, before, before)

    def load(self, recording: Recording, study: str) -> Standing:
        state, version = study_store.load(recording.connection, study)
        newest = round_store.latest(recording.connection, study)
        return Standing(state, version, *(newest or (None, None)))

    def settle(self, recording: Recording, before: Standing, after: Standing) -> None:
        """Let the hub speak until somebody else is awaited, then store what changed."""
        while (spoken := self._next(recording, after)) is not None:
            recording.record(spoken)
            after = self._apply(recording, after, spoken)
        if after.study != before.study:
            study_store.save(recording.connection, after.study, after.study_version)
        if after.round is not None and after.round != before.round:
            self._save_round(recording, before, after)
        if after.round is not None and (after.finished is not None or after.round.state in ("frozen", *OVER)):
            recording.afterwards.append(lambda: self.wake(after.study.id))

    def _save_round(self, recording: Recording, before: Standing, after: Standing) -> None:
        if after.finished is not None:
            round_store.save(recording.connection, after.finished, before.round_version)
        if after.round is not None:
            round_store.save(recording.connection, after.round, after.round_version)

    def _apply(self, recording: Recording, at: Standing, signed: Signed) -> Standing:
        body, contract, now = signed.body, at.study.contract, recording.now
        if isinstance(body, RoundOpened):
            return _opened(at, body, now)
        if isinstance(body, (SpendReserved, SpendSettled)):
            self._spend(recording, at, body)
            return at
        if isinstance(body, RoundReady):
            self.budgets.require_reserved(recording, body.issuer.removeprefix("silo:"), body.study, body.round)
        if isinstance(body, ROUND_STATEMENTS):
            if at.study.stage != "running" or at.round is None:
                raise Conflict(f"{body.type}: the study is {at.study.stage}, not running")
            if isinstance(body, UploadComplete):
                _require_delivered(recording, at.study, at.round, body)
            at = replace(at, round=rounds.apply(at.round, contract, signed, now))
            if not isinstance(body, RoundClosed | RoundVoided):
                return at
        return replace(at, study=studies.apply(at.study, signed, now))

    def _spend(self, recording: Recording, at: Standing, body: SpendReserved | SpendSettled) -> None:
        if isinstance(body, SpendSettled):
            self.budgets.settle(recording, body)
            return
        round, silo = at.round, body.issuer.removeprefix("silo:")
        if at.study.stage != "running" or round is None or round.index != body.round or silo not in round.silos:
            raise Conflict(f"spend-reserved: round {body.round} isn't open for silo {silo}")
        self.budgets.reserve(recording, body, at.study.contract)

    def _next(self, recording: Recording, at: Standing) -> Signed | None:
        def can_pay(silo: str, index: int) -> bool:
            return self.budgets.can_pay(recording.connection, at.study.id, at.study.contract, silo, index)

        say = study_step.next_step(at.study, at.round, can_pay, recording.now)
        if say is None:
            return None
        chunks: tuple[str, ...] = ()
        if isinstance(say, ServeSum):
            served = _sum_chunks(recording, at, say)
            if served is None:
                return None  # The workers are still adding; their last result comes back here.
            chunks = served
        return self._say(recording, at, say, chunks)

    def _say(self, recording: Recording, at: Standing, say: Say, chunks: tuple[str, ...]) -> Signed:
        timeout = at.study.contract.schedule.step_timeout_s
        voice = self.voice(recording.connection)
        return voice.say(say, at.study.id, recording.moment, timeout, chunks)


def _opened(at: Standing, body: RoundOpened, now: int) -> Standing:
    previous = at.round
    again = previous is not None and previous.index == body.round
    base = NO_BASE if previous is None else previous.base if again else previous.sum
    study = studies.started(at.study) if at.study.stage == "keying" else at.study
    version = at.round_version if again else None
    finished = None if again else previous
    return replace(at, study=study, round=rounds.opened(body, base, now), round_version=version, finished=finished)


def _require_delivered(recording: Recording, study: Study, round: Round, body: UploadComplete) -> None:
    silo = body.issuer.removeprefix("silo:")
    expected = round_layout(study.contract, round.index, len(round.frozen) or len(round.silos)).chunks
    arrived = tuple(round_store.chunks_of(recording.connection, round, silo))
    if round.state == "frozen" and silo in round.frozen and (len(arrived) != expected or arrived != body.chunks):
        raise Conflict(
            f"upload-complete: {len(arrived)} of {expected} chunks arrived, or with other digests than stated; "
            "PUT what is missing, then state it again"
        )


def _sum_chunks(recording: Recording, at: Standing, say: ServeSum) -> tuple[str, ...] | None:
    if at.round is None:
        return None
    layout = round_layout(at.study.contract, say.index, len(at.round.frozen))
    found = round_store.sum_digests(recording.connection, at.round, survivors_digest(say.survivors))
    if len(found) != layout.chunks:
        return None
    return tuple(found[position] for position in range(layout.chunks))
