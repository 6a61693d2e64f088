"""A round's bytes: shares and chunks in, sums added by the workers, sums out; and the ticks that keep it going."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import structlog
from sqlalchemy.exc import IntegrityError

from hub.aggregation.aggregator import Added, Aggregator, BadTerm, Outcome, SumJob
from hub.aggregation.intake import check_bundle, check_content, check_dealer, check_place
from hub.aggregation.quorum import addable, expected, survivors_digest
from hub.domain import round as rounds
from hub.domain import round_step
from hub.domain import study as studies
from hub.domain.round import OVER, Round
from hub.domain.says import ServeSum
from hub.domain.study import Study
from hub.errors import Conflict, Forbidden, NotFound
from hub.services.course import Course, Standing
from hub.services.identity import Caller
from hub.services.recorder import Recorder
from hub.services.studies import require_part
from hub.store import rounds as round_store
from hub.store import studies as study_store
from hub.store.blobs import BlobPlace, Blobs, shares_name, sum_name, upload_name
from hub.store.database import Database
from protocol import canonical
from protocol.rounds import round_layout
from protocol.routes import ReceivedChunks

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Rounds:
    database: Database
    recorder: Recorder
    course: Course
    blobs: Blobs
    place: BlobPlace
    aggregator: Aggregator
    lease_s: float

    def put_chunk(
        self, caller: Caller, study: str, index: int, attempt: int, position: int, content: bytes, digest: str | None
    ) -> bool:
        """Take a chunk in, durably; False when it was here. Raises `Conflict` for other bytes in its place."""
        if caller.role != "silo":
            raise Forbidden("only a silo uploads chunks")
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            round = check_place(round_store.load(connection, study, index), index, attempt, caller.name)
            contract = study_store.load(connection, study)[0].contract
            known = round_store.chunk(connection, round, caller.name, position)
        found = check_content(contract, round, position, content, digest)
        if known is not None:
            return _same(f"chunk {position}", known, found)
        self._store(upload_name(study, index, attempt, caller.name, position), content, found)
        return self._receive(round, caller.name, position, found, len(content))

    def received(self, caller: Caller, study: str, index: int, attempt: int) -> ReceivedChunks:
        """Which of its own chunks of this attempt the hub holds. Raises what `put_chunk` raises where none is taken."""
        if caller.role != "silo":
            raise Forbidden("only a silo asks for the chunks it uploaded")
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            round = check_place(round_store.load(connection, study, index), index, attempt, caller.name)
            contract = study_store.load(connection, study)[0].contract
            held = round_store.received(connection, round, caller.name)
        total = round_layout(contract, index, len(round.frozen)).chunks
        return ReceivedChunks(digests=tuple(held.get(position) for position in range(total)))

    def _store(self, name: str, content: bytes, digest: str) -> None:
        if not self.blobs.create(name, content) and canonical.digest(self.blobs.read(name)) != digest:
            raise Conflict("other content was uploaded in this place before; resend the sealed bytes unchanged")

    def _receive(self, round: Round, silo: str, position: int, digest: str, size: int) -> bool:
        micros = int(self.recorder.clock().timestamp() * 1_000_000)
        try:
            with self.database.writing() as connection:
                now = round_store.load(connection, round.study, round.index)
                check_place(now, round.index, round.attempt, silo)
                round_store.add_chunk(connection, round, silo, position, digest, size, micros)
                arrived = len(round_store.arrivals(connection, round).get(position, ()))
        except IntegrityError:  # The same chunk, sent twice at once: the name in the store made them the same bytes.
            return False
        if arrived >= len(round.frozen) - len(round.dropped):
            self.course.wake(round.study)
        return True

    def put_shares(
        self, caller: Caller, study: str, index: int, attempt: int, dealer: str, content: bytes, digest: str | None
    ) -> bool:
        """Take the dealer's bundle of shares in, durably; False when it was here. Raises `Conflict` for other bytes."""
        if caller.role != "silo" or caller.name != dealer:
            raise Forbidden("a silo uploads its own bundle of shares, and no other's")
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            round = check_dealer(round_store.load(connection, study, index), index, attempt, dealer)
            holders = len(study_store.load(connection, study)[0].keying)
        found = check_bundle(holders, content, digest)
        if dealer in round.dealt:
            return _same("the bundle of shares", round.dealt[dealer], found)
        self._store(shares_name(study, index, attempt, dealer), content, found)
        with self.recorder.transaction() as recording:
            at = self.course.load(recording, study)
            round = check_dealer(at.round, index, attempt, dealer)
            if dealer in round.dealt:
                return _same("the bundle of shares", round.dealt[dealer], found)
            self.course.settle(recording, at, replace(at, round=rounds.deal(round, dealer, found)))
        return True

    def shares(self, caller: Caller, study: str, index: int, attempt: int, dealer: str) -> Iterator[bytes]:
        """A dealer's bundle of shares, for the silos of the study."""
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            silos = study_store.load(connection, study)[0].accepted
        if caller.role != "silo":
            raise Forbidden("shares are for the silos of the study")
        if dealer not in silos:
            raise NotFound(f"silo {dealer[:64]} deals no shares in this study")
        return self.blobs.stream(shares_name(study, index, attempt, dealer))

    def sum_chunk(self, caller: Caller, study: str, index: int, attempt: int, position: int) -> Iterator[bytes]:
        """A chunk of a served sum, for the silos of the study."""
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            round = round_store.load(connection, study, index)
        if caller.role != "silo":
            raise Forbidden("sums are for the silos of the study")
        if round is None or round.attempt != attempt or round.state not in ("served", "closed"):
            raise NotFound(f"round {index} attempt {attempt} has no sum to fetch")
        return self.blobs.stream(sum_name(study, index, attempt, survivors_digest(round.survivors), position))

    def gather(self, study: str) -> None:
        """Hand the workers every chunk that can be added now."""
        with self.database.reading() as connection:
            at = self._standing(connection, study)
            if at is None or at.round is None or at.round.state != "frozen":
                return
            silos = self._whom(at.study, at.round)
            if len(silos) < at.study.contract.schedule.quorum:
                return
            arrivals = round_store.arrivals(connection, at.round)
            added = round_store.sum_digests(connection, at.round, survivors_digest(silos))
        for job in addable(at.study.contract, at.round, silos, arrivals, added, self.place):
            self.aggregator.submit(job)

    def added(self, job: SumJob, outcome: Outcome) -> None:
        """A worker is done: note the sum's chunk, or go on without the silo whose term is bad."""
        with self.recorder.transaction() as recording:
            at = self.course.load(recording, job.study)
            round = at.round
            if round is None or (round.index, round.attempt, round.state) != (job.round, job.attempt, "frozen"):
                return
            if isinstance(outcome, Added):
                if job.position not in round_store.sum_digests(recording.connection, round, job.survivors):
                    place = (job.survivors, job.position)
                    round_store.add_sum(recording.connection, round, *place, outcome.digest, outcome.size)
                self.course.settle(recording, at, at)
            elif isinstance(outcome, BadTerm):
                log.warning("a term can't be added", study=job.study, round=job.round, silo=outcome.silo)
                recording.refuse(_refusal(job, outcome), "hub", job.study, outcome.reason)
                self.course.settle(recording, at, replace(at, round=rounds.drop(round, outcome.silo)))

    def claim(self) -> list[str]:
        """Lease the studies whose rounds are due or wait for the workers, for this replica alone."""
        now = int(self.recorder.clock().timestamp())
        with self.database.reading() as connection:
            ended = study_store.overdue(connection, now)
            if not round_store.due_exists(connection, now):
                return ended
        with self.database.writing() as connection:
            return ended + round_store.claim_due(connection, now, now + int(self.lease_s))

    def tick(self, study: str) -> None:
        """Say what time alone brings about, then hand out what can be added, then give the lease back."""
        with self.recorder.transaction() as recording:
            self.course.advance(recording, study)
        self.gather(study)
        with self.database.writing() as connection:
            round_store.release_lease(connection, study)

    def resume(self) -> list[str]:
        """After a start: give steps that fell due while the hub was away their time again; studies to look at."""
        with self.database.reading() as connection:
            unfinished = study_store.unfinished(connection)
        for study in unfinished:
            with self.recorder.transaction() as recording:
                at = self.course.load(recording, study)
                if at.study.stage == "keying":
                    self.course.settle(recording, at, replace(at, study=replace(at.study, keyed_at=recording.now)))
                if at.round is not None and at.round.state not in OVER and at.round.due_at <= recording.now:
                    later = rounds.extend(at.round, rounds.step_end(recording.now, at.study.contract))
                    self.course.settle(recording, at, replace(at, round=later))
        return unfinished

    def sweep(self, keep_s: int) -> None:
        """Delete what is left of the studies closed `keep_s` seconds ago."""
        now = int(self.recorder.clock().timestamp())
        with self.database.reading() as connection:
            old = study_store.unswept(connection, now - keep_s)
        for study in old:
            self.blobs.delete_under((f"uploads/{study}/", f"sums/{study}/", f"shares/{study}/"))
            with self.database.writing() as connection:
                study_store.mark_swept(connection, study)

    def clear(self, study: str) -> None:
        """Delete the terms of rounds that are over, and all of what came to nothing: nobody needs it.

        A served sum that counts stays, and the shares for it: a silo that was away opens it with them.
        """
        with self.database.reading() as connection:
            at = self._standing(connection, study)
        if at is None or at.round is None:
            return
        if at.study.stage in studies.FINAL:
            self.blobs.delete_under((f"uploads/{study}/",))
            return
        done = at.round.index if at.round.state in OVER else at.round.index - 1
        self.blobs.delete_under(f"uploads/{study}/{index}/" for index in range(max(0, done - 1), done + 1))
        index, last = at.round.index, at.round.attempt
        self.blobs.delete_under(f"shares/{study}/{index}/{attempt}/" for attempt in range(1, last))
        if at.round.state == "voided":
            self.blobs.delete_under((f"sums/{study}/{index}/", f"shares/{study}/{index}/"))

    def states(self) -> dict[str, int]:
        """How many rounds are in each state."""
        with self.database.reading() as connection:
            return round_store.states(connection)

    def _standing(self, connection: Any, study: str) -> Standing | None:
        try:
            state, version = study_store.load(connection, study)
        except NotFound:
            return None
        newest = round_store.latest(connection, study)
        return Standing(state, version, *(newest or (None, None)))

    def _whom(self, study: Study, round: Round) -> tuple[str, ...]:
        """Whose terms to add: those of the sum that may be served now, else of all who are still expected."""
        now = int(self.recorder.clock().timestamp())
        step = round_step.next_step(round, study.contract, tuple(study.gone), now)
        return step.survivors if isinstance(step, ServeSum) else expected(round, study.withdrawn)


def _same(what: str, known: str, found: str) -> bool:
    if known != found:
        raise Conflict(f"{what}: other content was uploaded before; resend the sealed bytes unchanged")
    return False


def _refusal(job: SumJob, outcome: BadTerm) -> bytes:
    value = {"context": "consortia/chunk-refused/v1", "study": job.study, "round": job.round, "attempt": job.attempt}
    return canonical.encode({**value, "silo": outcome.silo, "chunk": job.position})
