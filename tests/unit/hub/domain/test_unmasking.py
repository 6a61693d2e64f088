"""From a served sum to its total: who may sign and reveal, when, and what the hub makes of silence."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from hub.domain import round as rounds
from hub.errors import BadRequest, Conflict, Forbidden, Refused
from tests.unit.hub.domain.test_course import FAILURE, OFFER, SILOS, TIMEOUT_S, CourseOfAStudy, shares_of

QUORUM = 3


class Served(CourseOfAStudy):
    """A study whose first sum is served; `missing` silos didn't upload."""

    def __init__(self, missing: Sequence[str] = ()) -> None:
        super().__init__()
        self.all_decide_and_commit()
        self.all_are_ready()
        for silo in SILOS:
            if silo not in missing:
                self.upload(silo)
        if missing:
            self.time_passes(TIMEOUT_S + 2)
        self.workers_finish()
        assert self.round is not None and self.round.state == "served"

    def say(self, kind: str, silo: str, **fields: Any) -> None:
        assert self.round is not None
        fields = {**self._place(), "sum": self.round.sum, **fields}
        self._apply(self._signed(kind, f"silo:{silo}", **fields))
        self._speak()

    def reveal_of(self, silo: str, **fields: Any) -> None:
        assert self.round is not None
        self.say("shares-revealed", silo, **{"shares": shares_of(len(self.round.frozen)), **fields})

    def fail(self, silo: str) -> None:
        self.say("verification-failed", silo, **FAILURE)

    def all_sign(self, silos: Sequence[str] = SILOS) -> None:
        for silo in silos:
            self.say("survivors-signed", silo)


def refused(kind: type[Refused], words: str) -> Any:
    return pytest.raises(kind, match=words)


def test_ready_is_refused_until_its_bundle_of_shares_arrived() -> None:
    course = CourseOfAStudy()
    course.all_decide_and_commit()
    assert course.round is not None
    word = course._signed("round-ready", "silo:ada", **course._place(), **OFFER)
    for dealt in (
        course.round,
        rounds.deal(course.round, "ada", "b" * 64),
        rounds.deal(course.round, "bern", "a" * 64),
    ):
        with refused(Conflict, "PUT the bundle of shares"):
            rounds.apply(dealt, course.study.contract, word, 0)
    after = rounds.apply(rounds.deal(course.round, "ada", "a" * 64), course.study.contract, word, 0)
    assert after.ready == {"ada": word.digest}


def test_a_silo_that_is_no_survivor_neither_signs_nor_reveals() -> None:
    course = Served(missing=("dale",))
    with refused(Forbidden, "dale is not part"):
        course.say("survivors-signed", "dale")
    course.all_sign(SILOS[:-1])
    with refused(Forbidden, "dale is not part"):
        course.reveal_of("dale")


def test_a_silo_signs_once() -> None:
    course = Served()
    course.say("survivors-signed", "ada")
    with refused(Conflict, "another one"):
        course.say("survivors-signed", "ada")
    assert course.round is not None and course.round.signed == ("ada",)


def test_another_sum_is_neither_signed_nor_revealed() -> None:
    course = Served()
    with refused(Conflict, "sum is not the digest"):
        course.say("survivors-signed", "ada", sum="f" * 64)
    course.all_sign()
    with refused(Conflict, "sum is not the digest"):
        course.reveal_of("ada", sum="f" * 64)


def test_nothing_is_signed_before_a_sum_is_served() -> None:
    course = CourseOfAStudy()
    course.all_decide_and_commit()
    word = course._signed("survivors-signed", "silo:ada", **course._place(), sum="f" * 64)
    assert course.round is not None
    with refused(Forbidden, "not part"):
        rounds.apply(course.round, course.study.contract, word, 0)


def test_shares_are_revealed_after_a_quorum_signed_by_those_who_signed_and_once() -> None:
    course = Served()
    course.all_sign(SILOS[:2])
    with refused(Conflict, "2 silos signed the survivors, 3 must"):
        course.reveal_of("ada")
    course.say("survivors-signed", "cork")
    with refused(Conflict, "send survivors-signed first"):
        course.reveal_of("dale")
    course.reveal_of("ada")
    with refused(Conflict, "another one"):
        course.reveal_of("ada")
    assert course.round is not None and course.round.revealed == ("ada",)


@pytest.mark.parametrize("shares", [shares_of(3), shares_of(5), "", "A", shares_of(4)[:-1]])
def test_a_reveal_of_another_size_is_refused(shares: str) -> None:
    course = Served()
    course.all_sign()
    with refused(BadRequest, "shares"):
        course.reveal_of("ada", shares=shares)


def test_a_silo_that_said_the_sum_did_not_verify_signs_no_more() -> None:
    course = Served()
    course.fail("ada")
    with refused(Conflict, "didn't verify"):
        course.say("survivors-signed", "ada")


def test_a_study_ends_at_once_when_too_few_silos_can_still_sign() -> None:
    course = Served()
    course.fail("ada")
    assert course.study.stage == "running"
    course._apply(course._signed("study-withdrawn", "silo:bern", reason="x"))
    course._speak()
    assert (course.study.stage, course.round and course.round.state) == ("aborted", "served")
    assert "2 silos sign the sum, 3 are needed" in (course.study.reason or "")


def test_a_silo_that_signed_and_withdrew_still_counts_for_the_quorum() -> None:
    course = Served()
    course.say("survivors-signed", "bern")
    course._apply(course._signed("study-withdrawn", "silo:bern", reason="x"))
    course.fail("ada")
    assert course.study.stage == "running"


def test_a_sum_that_too_few_silos_signed_in_time_ends_the_study() -> None:
    course = Served()
    course.all_sign(SILOS[:2])
    course.time_passes(TIMEOUT_S + 2)
    assert course.study.stage == "aborted"


def test_a_survivor_that_vanishes_is_suspended_and_the_others_go_on() -> None:
    course = Served()
    course.all_sign(SILOS[:-1])
    for silo in SILOS[:-1]:
        course.reveal_of(silo)
    for silo in SILOS[:-1]:
        course.answer(silo, "5")
    course.time_passes(TIMEOUT_S + 2)
    assert (course.study.stage, course.study.suspended) == ("keying", ("dale",))
    course.all_commit()
    assert course.round is not None and (course.round.index, course.round.silos) == (1, SILOS[:-1])


def test_a_quorum_of_signatures_gives_revealing_and_opening_their_own_time() -> None:
    course = Served()
    assert course.round is not None
    course.all_sign(SILOS[:2])
    due = course.round.due_at
    course.now += timedelta(seconds=TIMEOUT_S - 2)
    course.say("survivors-signed", "cork")
    assert course.round.due_at > due
    later = course.round.due_at
    course.now += timedelta(seconds=1)
    course.say("survivors-signed", "dale")
    assert course.round.due_at == later


def test_a_step_that_begins_late_in_a_second_gets_its_whole_time() -> None:
    course = Served()
    course.all_sign(SILOS[:2])
    course.now = (course.now + timedelta(seconds=TIMEOUT_S - 2)).replace(microsecond=900_000)
    course.say("survivors-signed", "cork")
    assert course.round is not None
    assert course.round.due_at >= course.now.timestamp() + TIMEOUT_S


def test_the_word_that_makes_the_quorum_and_the_last_one_turn_the_round() -> None:
    course, turns = Served(), []
    for act in (lambda silo: course.say("survivors-signed", silo), course.reveal_of):
        for silo in SILOS:
            before = course.round
            act(silo)
            turns.append(rounds.turned(before, course.round, QUORUM))
    assert turns == [False, False, True, True] * 2
    before = course.round
    course.answer("ada", "5")
    assert not rounds.turned(before, course.round, QUORUM)
