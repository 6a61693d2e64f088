"""The silo's day: poll the hub, verify what it shows, do what follows, one thing at a time."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import NoReturn

import structlog

from protocol.errors import ProtocolError
from protocol.follow import CharterUnseen, Follower, Verified, advance_follower, begin, checkpoint_size
from protocol.ids import moment
from protocol.job_record import JobRecord
from protocol.record import StudyRecord
from protocol.routes import Follow
from protocol.signing import Signed
from silo_node.agent import job_steps, keying, pausing, pipeline
from silo_node.agent.decisions import UNUSABLE, decide, withdraw
from silo_node.agent.jobs import jobs_of
from silo_node.agent.memory import check_journal, check_ledger, check_own_words, check_promises
from silo_node.agent.opt_out_record import check_all_opt_outs
from silo_node.agent.pulse import Pulse
from silo_node.agent.registering import publish_pending
from silo_node.agent.releasing import forget_released, release
from silo_node.agent.shelving import ShelfKeeper
from silo_node.agent.silo import Silo
from silo_node.agent.studies import Studies
from silo_node.agent.study import Study
from silo_node.agent.witnessing import may_work, witness
from silo_node.errors import (
    DatasetRefused,
    HubDistrusted,
    HubRefused,
    HubUnreachable,
    JobRefused,
    OptOutsRefused,
    PolicyRefused,
    RunnerFailed,
    SelfTestFailed,
    SourceUnreachable,
    StudyHalted,
)
from silo_node.hub_client.retry import Backoff

log = structlog.get_logger()
MAX_RUNNER_FAILURES = 3
SOURCE_PAUSE = timedelta(seconds=10)
"""How long a source that doesn't answer is left alone; asking it takes the time of a process."""


class Agent:
    """Follows the log and takes this silo through its studies. ``founding`` is the pinned charter digest."""

    def __init__(self, silo: Silo, founding: str, fetch_charter: Callable[[], list[bytes]], poll_wait_s: int) -> None:
        self._silo, self._poll_wait_s = silo, poll_wait_s
        self._fetch_charter = fetch_charter
        self._follower = silo.tasks.follower() or begin(fetch_charter(), founding)
        self._studies = Studies(silo.tasks.entries())
        self._jobs = jobs_of(silo)
        self._runner_failures: dict[str, int] = {}
        self._without_source: dict[str, datetime] = {}
        self._try_again = False
        self._candidate = ""
        self._shelf = ShelfKeeper(silo)
        check_ledger(silo)
        check_journal(silo)
        check_all_opt_outs(silo)

    def run(self, backoff: Backoff, pulse: Pulse) -> NoReturn:
        """Works until it is interrupted. Raises ``HubDistrusted`` when what the hub shows does not verify."""
        failures, wait_s = 0, 0
        while True:
            try:
                self.poll(wait_s)
                pulse.beat(at_work=True)
                if not self.work():
                    publish_pending(self._silo, self._studies.datasets)
                    self._shelf.look(self._follower.charter)
                pulse.beat(at_work=False)
                # After a step too: it was said in the log, so the next poll brings at least that.
                failures, wait_s = 0, 0 if self._try_again else self._poll_wait_s
            except HubUnreachable as problem:
                log.warning("hub-unreachable", problem=str(problem), failures=failures)
                backoff.sleep(backoff.pause_s(failures))
                failures, wait_s = min(failures + 1, 16), 0
            except HubRefused as problem:
                # Not admitted yet, most likely: the admin has to compare the words first.
                log.warning("hub-refused", problem=str(problem), failures=failures)
                backoff.sleep(backoff.pause_s(failures))
                failures, wait_s = min(failures + 1, 16), 0

    def poll(self, wait_s: int) -> None:
        """One poll: verified, and remembered before anything is done about it."""
        promised = self._silo.tasks.promises()
        try:
            held = self._follower
            answer = self._silo.hub.poll(held.next, wait_s, self._candidate)
            proof = answer.consistency
            if held.next != held.view.size:
                proof = self._silo.hub.consistency(held.view.size, checkpoint_size(answer.checkpoint))
            follower, entries = self._advance(held, answer, proof)
        except ProtocolError as problem:
            self._silo.voice.note("halt", f"the hub's log does not verify: {problem}", None)
            raise HubDistrusted(f"the hub's log does not verify, nothing more is done for it: {problem}") from None
        check_own_words(self._silo, entries)
        if follower != held:
            self._silo.tasks.advance(follower, entries)
            self._follower = follower
        if follower.next == follower.view.size:
            self._held_to_its_word(promised)
        if follower.charter is not None:
            self._silo.identity.use(follower.charter)
        for entry in entries:
            self._studies.take_in(entry)
            self._jobs.take_in(entry)
        self._witness(answer.candidate)

    def _held_to_its_word(self, promised: tuple[tuple[int, Signed], ...]) -> None:
        try:
            check_promises(self._silo, promised)
        except HubDistrusted as problem:
            self._silo.voice.note("halt", str(problem), None)
            raise

    def _witness(self, candidate: str) -> None:
        self._candidate = candidate
        try:
            witness(self._silo, self._follower, candidate)
        except ProtocolError as problem:
            self._silo.voice.note("halt", f"what the witnesses are shown is not this log: {problem}", None)
            raise HubDistrusted(f"the hub shows its witnesses another log, nothing more is done: {problem}") from None

    def _advance(self, held: Follower, answer: Follow, proof: tuple[str, ...]) -> tuple[Follower, list[Verified]]:
        """As ``advance_follower``; with the hub's charters where the checkpoint names one ahead of the answer."""
        try:
            return advance_follower(held, answer, proof)
        except CharterUnseen:
            return advance_follower(held, answer, proof, self._fetch_charter())

    def work(self) -> bool:
        """Takes every study one step on; true if any step was taken."""
        if self._follower.charter is None or moment(self._follower.charter.expires_at) <= self._silo.clock():
            log.warning("no-charter-in-force", remedy="the admins must publish a charter that has not expired")
            return False
        waiting = may_work(self._silo, self._follower.charter)
        if waiting is not None:
            log.warning("log-not-witnessed", reason=waiting)
            return False
        self._try_again = False
        steps = [self._step(self._stands(one)) for one in self._studies.records.values()]
        steps += [self._job_step(job) for job in self._jobs.records.values() if job.job not in self._jobs.broken]
        return any(steps)

    def _stands(self, record: StudyRecord) -> Study:
        known = self._studies.lead_known(record.contract.lead, self._silo.name, record.study)
        return Study(record, self._follower.in_force, known)

    def _job_step(self, job: JobRecord) -> bool:
        """A job that can't be gone on with stays as it is: nothing of it leaves."""
        try:
            known = self._studies.lead_known(job.researcher, self._silo.name, besides="")
            return job_steps.step(self._silo, job, self._follower.in_force, known)
        except HubDistrusted as problem:
            self._silo.voice.note("halt", str(problem), None)
            raise
        except (HubRefused, JobRefused, PolicyRefused, DatasetRefused) as problem:
            log.warning("job-waits", job=job.job[:12], problem=str(problem))
            return False

    def _step(self, study: Study) -> bool:
        if self._silo.tasks.halted(study.id) is not None or self._paused_for_source(study):
            return False
        try:
            broken = self._studies.broken.get(study.id)
            if broken is not None:
                raise StudyHalted(f"the log of this study breaks a rule: {broken}")
            took = self._next(study)
            if took:
                self._runner_failures.pop(study.id, None)
                self._without_source.pop(study.id, None)
            return took
        except StudyHalted as problem:
            self._halt(study, str(problem), str(problem))
        except OptOutsRefused as problem:
            # Fail closed, and leave no study: nothing is read until the owner mends the list.
            log.error("opt-outs-unusable", study=study.id[:12], problem=str(problem))
            return False
        except SourceUnreachable as problem:
            self._source_unreachable(study, problem)
            return False
        except DatasetRefused as problem:
            self._halt(study, str(problem), UNUSABLE)
        except RunnerFailed as problem:
            self._runner_failed(study, problem)
        except HubDistrusted as problem:
            self._silo.voice.note("halt", str(problem), study.id)
            raise
        except PolicyRefused as problem:
            # Fail closed: without usable rules nothing is done, until the owner mends the file.
            log.error("policy-unusable", problem=str(problem))
            return False
        except SelfTestFailed as problem:
            log.error("self-test-failed", problem=str(problem))
            return False
        except HubRefused as refusal:
            # What was said no longer fits: the next poll tells what happened meanwhile.
            log.warning("hub-refused", study=study.id[:12], problem=str(refusal))
            return False
        return True

    def _next(self, study: Study) -> bool:
        silo = self._silo
        if forget_released(silo, study):
            return False
        if decide(silo, study) or pausing.pause_or_resume(silo, study) or keying.agree_on_secret(silo, study):
            return True
        return pipeline.run_round(silo, study) or release(silo, study)

    def _halt(self, study: Study, reason: str, told: str) -> None:
        """Stops here, with ``reason`` for the owner and ``told`` for everyone else.

        While the hub is away nothing is kept, so that the next step comes here again and the others are told.
        """
        log.error("study-halted", study=study.id[:12], reason=reason)
        try:
            withdraw(self._silo, study, told)
        except HubRefused as refusal:
            log.warning("hub-refused", study=study.id[:12], problem=str(refusal))
        self._silo.voice.note("halt", reason, study.id)
        self._silo.tasks.halt(study.id, reason)

    def _source_unreachable(self, study: Study, problem: SourceUnreachable) -> None:
        """Leaves no study: the round goes on without this silo, which takes part again once the source answers."""
        log.warning("source-unreachable", study=study.id[:12], problem=str(problem))
        if study.id not in self._without_source:
            self._silo.voice.note("warning", f"{problem}; it is tried again while the study runs", study.id)
        self._without_source[study.id] = self._silo.clock() + SOURCE_PAUSE

    def _paused_for_source(self, study: Study) -> bool:
        until = self._without_source.get(study.id)
        return until is not None and self._silo.clock() < until

    def _runner_failed(self, study: Study, problem: RunnerFailed) -> None:
        failures = self._runner_failures.get(study.id, 0) + 1
        self._runner_failures[study.id] = failures
        self._try_again = True
        log.error("runner-failed", study=study.id[:12], problem=str(problem), failures=failures)
        if failures >= MAX_RUNNER_FAILURES:
            self._halt(study, f"computing failed {failures} times: {problem}", "computing failed at this silo")
