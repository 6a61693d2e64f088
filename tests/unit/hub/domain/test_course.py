"""The study and round state machines under any order of statements, silence and time (hypothesis)."""

import secrets
from base64 import b64encode
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hub.domain import round as rounds
from hub.domain import round_step, study_step
from hub.domain import study as studies
from hub.domain.round import MAX_ATTEMPTS, Round
from hub.domain.says import ServeSum
from hub.domain.study import FINAL, Study
from hub.domain.study_step import keying_limit_s
from hub.errors import Refused
from hub.services.voice import Voice
from protocol import canonical
from protocol.ids import timestamp
from protocol.round_statements import RoundClosed, RoundOpened, RoundVoided, SumServed
from protocol.sealing.shares import SHARE_BYTES
from protocol.sealing.sharing import SEALED_REVEAL_OVERHEAD
from protocol.signing import Signed, sign
from protocol.study import study_id
from protocol.study_statements import StudyClosed, StudyKeying
from tests.unit.hub.rig.contract import contract
from tests.unit.hub.rig.party import BODY

SILOS = ("ada", "bern", "cork", "dale")
START = datetime(2026, 11, 22, 3, 29, tzinfo=UTC)
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
TIMEOUT_S = 10
FAILURE: dict[str, Any] = {"cause": "sum", "blamed": []}
OFFER = {"mask_key": "09" + "00" * 31, "self_commitment": "1" * 64, "shares": "a" * 64}
silos = st.sampled_from(SILOS)


def shares_of(frozen: int) -> str:
    return b64encode(bytes(SHARE_BYTES * frozen + SEALED_REVEAL_OVERHEAD)).decode()


class CourseOfAStudy(RuleBasedStateMachine):
    """Plays all parties; after each event the hub speaks until it waits, exactly as `services.course` lets it."""

    def __init__(self, rounds_: int = 1) -> None:
        super().__init__()
        agreed = contract(SILOS, timeout_s=TIMEOUT_S, rounds=rounds_)
        self.now = START
        self.study = Study(study_id(agreed), agreed, int(START.timestamp()), {"person:ines": "key"}, 1)
        self.round: Round | None = None
        self.added: set[tuple[str, ...]] = set()
        self.voice = Voice(KEY, lambda: secrets.token_hex(16))
        self.said: list[Signed] = []
        self.broke: set[str] = set()
        self.opened: list[tuple[set[str], set[str]]] = []

    def _signed(self, kind: str, issuer: str, **fields: Any) -> Signed:
        head = {"type": kind, "issuer": issuer, "issued_at": timestamp(self.now), "nonce": secrets.token_hex(16)}
        value = {**head, "journal_head": None, "study": self.study.id, **fields}
        return sign(BODY.validate_json(canonical.encode(value)), KEY)

    def _take(self, signed: Signed) -> bool:
        try:
            self._apply(signed)
        except Refused:
            return False
        self._speak()
        return True

    def _apply(self, signed: Signed) -> None:
        body, now = signed.body, int(self.now.timestamp())
        if isinstance(body, RoundOpened):
            again = self.round is not None and self.round.index == body.round
            base = "0" * 64 if self.round is None else self.round.base if again else self.round.sum
            if self.study.stage == "keying":
                self.study = studies.started(self.study)
            self.round = rounds.opened(body, base, now)
        elif hasattr(body, "round") and self.round is not None:
            if self.study.stage != "running":
                raise Refused("not running")
            self.round = rounds.apply(self.round, self.study.contract, signed, now)
            if isinstance(body, RoundClosed | RoundVoided):
                self.study = studies.apply(self.study, signed, now)
        else:
            self.study = studies.apply(self.study, signed, now)

    def _speak(self) -> None:
        while True:
            now = int(self.now.timestamp())
            say = study_step.next_step(self.study, self.round, lambda silo, index: silo not in self.broke, now)
            if say is None or (isinstance(say, ServeSum) and say.survivors not in self.added):
                return
            chunks = ("c" * 64,) if isinstance(say, ServeSum) else ()
            signed = self.voice.say(say, self.study.id, self.now, TIMEOUT_S, chunks)
            if isinstance(signed.body, RoundOpened):
                self.opened.append((set(signed.body.silos), {*self.study.gone, *self.study.paused}))
            self.said.append(signed)
            self._apply(signed)

    @rule()
    def approve(self) -> None:
        self._take(self._signed("study-approved", "person:ines", assertion=None))

    @rule(silo=silos)
    def accept(self, silo: str) -> None:
        fields = {"policy": "1" * 64, "dataset_commitment": "2" * 64, "decided_by": "owner"}
        self._take(self._signed("study-accepted", f"silo:{silo}", **fields))

    @rule(silo=silos)
    def refuse(self, silo: str) -> None:
        self._take(self._signed("study-refused", f"silo:{silo}", rule="r", reason="x", decided_by="owner"))

    @rule(silo=silos, sure=st.integers(0, 9))
    def withdraw(self, silo: str, sure: int) -> None:
        if sure == 0:
            self._take(self._signed("study-withdrawn", f"silo:{silo}", reason="x"))

    @rule(recipient=silos)
    def seal_key(self, recipient: str) -> None:
        if self.study.keying:
            key_silo = f"silo:{self.study.keying[0]}"
            fields = {"epoch": self.study.epoch, "recipient": recipient, "envelope": "AAAA"}
            self._take(self._signed("secret-sealed", key_silo, **fields))

    @rule(silo=silos, right=st.integers(0, 19))
    def commit(self, silo: str, right: int) -> None:
        fields = {"epoch": max(1, self.study.epoch), "commitment": ("3" if right else "4") * 64}
        self._take(self._signed("secret-commitment", f"silo:{silo}", **fields))

    @rule()
    def all_decide_and_commit(self) -> None:
        self.approve()
        for silo in SILOS:
            self.accept(silo)
        self.all_commit()

    @rule()
    def all_commit(self) -> None:
        for silo in SILOS:
            self.commit(silo, 1)

    @rule(silo=silos, kind=st.sampled_from(["study-paused", "study-resumed", "study-resumed"]))
    def pause_or_resume(self, silo: str, kind: str) -> None:
        fields = {"reason": "x"} if kind == "study-paused" else {}
        self._take(self._signed(kind, f"silo:{silo}", **fields))

    def _place(self) -> dict[str, Any]:
        assert self.round is not None
        return {"round": self.round.index, "attempt": self.round.attempt}

    @precondition(lambda self: self.round is not None)
    @rule(silo=silos)
    def ready(self, silo: str) -> None:
        assert self.round is not None
        self.round = rounds.deal(self.round, silo, "a" * 64)
        self._take(self._signed("round-ready", f"silo:{silo}", **self._place(), **OFFER))

    @precondition(lambda self: self.round is not None and self.round.freeze)
    @rule(silo=silos)
    def upload(self, silo: str) -> None:
        if not self.round.freeze:
            return  # the last upload led to the next round
        fields = {"freeze": self.round.freeze, "chunks": ["c" * 64]}
        self._take(self._signed("upload-complete", f"silo:{silo}", **self._place(), **fields))

    @precondition(lambda self: self.round is not None)
    @rule()
    def workers_finish(self) -> None:
        say = study_step.next_step(self.study, self.round, lambda s, i: True, int(self.now.timestamp()))
        if isinstance(say, ServeSum):
            self.added.add(say.survivors)
        self._speak()

    @precondition(lambda self: self.round is not None)
    @rule(silo=silos)
    def find_bad_chunk(self, silo: str) -> None:
        if silo in self.round.frozen:
            self.round = rounds.drop(self.round, silo)
            self._speak()

    @precondition(lambda self: self.round is not None and self.round.sum)
    @rule(silo=silos)
    def sign(self, silo: str) -> None:
        if self.round.sum:
            self._take(self._signed("survivors-signed", f"silo:{silo}", **self._place(), sum=self.round.sum))

    @precondition(lambda self: self.round is not None and self.round.sum)
    @rule(silo=silos)
    def reveal(self, silo: str) -> None:
        if self.round.sum:
            fields = {**self._place(), "sum": self.round.sum, "shares": shares_of(len(self.round.frozen))}
            self._take(self._signed("shares-revealed", f"silo:{silo}", **fields))

    @precondition(lambda self: self.round is not None and self.round.sum)
    @rule(silo=silos, mac=st.sampled_from(["5", "5", "5", "5", "6", None]))
    def answer(self, silo: str, mac: str | None) -> None:
        if not self.round.sum:
            return  # the answers before were enough
        fields = {**self._place(), "sum": self.round.sum}
        if mac is None:
            self._take(self._signed("verification-failed", f"silo:{silo}", **fields, **FAILURE))
        else:
            self._take(self._signed("sum-verified", f"silo:{silo}", **fields, state_mac=mac * 64))

    @initialize(far=st.booleans())
    def begin(self, far: bool) -> None:
        if far:
            self.all_decide_and_commit()

    @precondition(lambda self: self.round is not None)
    @rule()
    def all_are_ready(self) -> None:
        for silo in SILOS:
            self.ready(silo)

    @precondition(lambda self: self.round is not None)
    @rule()
    def everybody_works(self) -> None:
        for silo in SILOS:
            self.ready(silo)
        if self.round.freeze:
            for silo in SILOS:
                self.upload(silo)
        self.workers_finish()
        for step in (self.sign, self.reveal, lambda silo: self.answer(silo, "5")):
            for silo in SILOS:
                step(silo)

    @rule(silo=silos, sure=st.integers(0, 9))
    def run_out_of_budget(self, silo: str, sure: int) -> None:
        if sure == 0:
            self.broke.add(silo)

    @rule(seconds=st.sampled_from([1, TIMEOUT_S + 2]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)
        self._speak()

    @invariant()
    def a_sum_always_has_a_quorum_of_frozen_silos_whose_terms_are_good(self) -> None:
        if self.round is not None and self.round.survivors:
            assert len(self.round.survivors) >= self.study.contract.schedule.quorum
            assert set(self.round.survivors) <= set(self.round.frozen) - set(self.round.dropped)
            assert set(self.round.survivors) <= set(self.round.complete)

    @invariant()
    def only_survivors_that_signed_reveal_and_only_after_a_quorum_signed(self) -> None:
        if self.round is not None:
            assert set(self.round.revealed) <= set(self.round.signed) <= set(self.round.survivors)
            assert not self.round.revealed or len(self.round.signed) >= self.study.contract.schedule.quorum
            assert len(set(self.round.revealed)) == len(self.round.revealed)

    @invariant()
    def one_sum_is_served_a_round(self) -> None:
        served = [signed.body.round for signed in self.said if isinstance(signed.body, SumServed)]
        assert len(served) == len(set(served))

    @invariant()
    def rounds_come_in_order_and_attempts_are_few(self) -> None:
        opened = [(s.body.round, s.body.attempt) for s in self.said if isinstance(s.body, RoundOpened)]
        assert opened == sorted(set(opened))
        assert all(attempt <= MAX_ATTEMPTS for _, attempt in opened)
        assert [index for index, attempt in opened if attempt == 1] == list(range(len({i for i, _ in opened})))

    @invariant()
    def who_left_or_paused_is_in_no_round_opened_later(self) -> None:
        assert not any(out & silos for silos, out in self.opened)

    @invariant()
    def a_round_is_opened_under_a_key_that_its_holders_share_and_no_void_round_knew(self) -> None:
        said = [signed.body for signed in self.said]
        for place, body in enumerate(said):
            if isinstance(body, RoundOpened):
                keyed = max(at for at, one in enumerate(said[:place]) if isinstance(one, StudyKeying))
                assert set(body.silos) <= set(said[keyed].silos)
                assert not any(isinstance(one, RoundVoided) for one in said[keyed:place])
                left = {silo for one in said[keyed:place] for silo in getattr(one, "suspended", ())}
                assert not left

    @invariant()
    def only_training_rounds_are_void_and_each_round_ends_once(self) -> None:
        ended = [signed.body for signed in self.said if isinstance(signed.body, RoundClosed | RoundVoided)]
        assert len({body.round for body in ended}) == len(ended)
        assert all(body.round == 1 for body in ended if isinstance(body, RoundVoided))

    @invariant()
    def the_end_is_said_once_and_is_the_end(self) -> None:
        ends = [place for place, signed in enumerate(self.said) if isinstance(signed.body, StudyClosed)]
        assert len(ends) == (1 if self.study.stage in FINAL else 0)
        assert not ends or ends[0] == len(self.said) - 1

    @invariant()
    def only_a_study_with_all_rounds_over_and_its_evaluation_closed_is_completed(self) -> None:
        if self.study.stage == "completed":
            ended = [signed.body.round for signed in self.said if isinstance(signed.body, RoundClosed | RoundVoided)]
            assert ended == [0, 1, 2]
            assert self.round is not None and self.round.state == "closed"


TestCourseOfAStudy = CourseOfAStudy.TestCase
TestCourseOfAStudy.settings = settings(
    max_examples=150, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_everybody_working_leads_to_a_completed_study() -> None:
    course = CourseOfAStudy()
    course.all_decide_and_commit()
    for _ in range(3):
        course.everybody_works()
    assert course.study.stage == "completed"
    course.only_a_study_with_all_rounds_over_and_its_evaluation_closed_is_completed()


def test_a_round_overdue_because_the_hub_was_away_gets_its_time_again() -> None:
    course = CourseOfAStudy()
    course.all_decide_and_commit()
    assert course.round is not None
    later = rounds.extend(course.round, course.round.due_at + 100)
    assert later == replace(course.round, due_at=course.round.due_at + 100)
    assert round_step.next_step(later, course.study.contract, (), course.round.due_at + 50) is None


def test_a_contract_past_its_end_closes_the_study_as_expired() -> None:
    course = CourseOfAStudy()
    course.approve()
    course.now = datetime(2099, 1, 2, tzinfo=UTC)
    course._speak()
    assert course.study.stage == "expired"


def keyed_course(committing: int) -> CourseOfAStudy:
    """All accepted; the first silos committed to the key, then a step's time passed."""
    course = CourseOfAStudy()
    course.approve()
    for silo in SILOS:
        course.accept(silo)
    for silo in SILOS[:committing]:
        course.commit(silo, 1)
    assert course.study.stage == "keying"
    course.now += timedelta(seconds=keying_limit_s(course.study.contract) + 1)
    course._speak()
    return course


def test_a_silo_that_vanished_while_the_key_was_shared_is_left_out_and_may_join_later() -> None:
    course = keyed_course(len(SILOS) - 1)
    assert course.study.stage == "running"
    assert course.round is not None and set(course.round.silos) == set(SILOS[:-1])
    course.commit(SILOS[-1], 1)
    assert SILOS[-1] in course.study.commitments


def vanished_key_silo() -> CourseOfAStudy:
    """All accepted; nobody committed, as nobody was given a key, and the time for it passed."""
    course = keyed_course(0)
    assert (course.study.stage, course.study.epoch, course.study.keying) == ("keying", 2, (*SILOS[1:], SILOS[0]))
    return course


def test_where_the_key_silo_vanished_another_makes_the_key_and_the_study_goes_on() -> None:
    course = vanished_key_silo()
    for silo in SILOS[1:]:
        course.commit(silo, 1)
    course.time_passes(keying_limit_s(course.study.contract) + 1)
    assert course.round is not None and (course.study.stage, course.round.silos) == ("running", SILOS[1:])


def test_with_more_silent_key_silos_than_a_quorum_can_spare_the_study_ends() -> None:
    course = vanished_key_silo()
    course.time_passes(keying_limit_s(course.study.contract) + 1)
    assert (course.study.stage, course.study.reason) == ("aborted", "no study key in time: silent were ada, bern")


def test_a_key_that_too_few_silos_hold_in_time_ends_the_study() -> None:
    course = keyed_course(2)
    assert (course.study.stage, course.round) == ("aborted", None)
