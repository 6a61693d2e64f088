"""What the hub makes of a sum that nobody can use, of silos that pause, and of holders that leave."""

from collections.abc import Sequence

from hub.domain.study_step import keying_limit_s
from tests.unit.hub.domain.test_course import SILOS, TIMEOUT_S, CourseOfAStudy


def course_at_training(rounds_: int = 1) -> CourseOfAStudy:
    """A study in its first training round, whose sum is served."""
    course = CourseOfAStudy(rounds_)
    course.all_decide_and_commit()
    course.everybody_works()
    serve(course)
    return course


def serve(course: CourseOfAStudy) -> None:
    """The sum of the round that is open, of all silos that may take part."""
    assert course.round is not None
    course.all_are_ready()
    for silo in course.round.silos:
        course.upload(silo)
    course.workers_finish()
    assert course.round.state == "served"


def fail(course: CourseOfAStudy, *silos: str, blamed: Sequence[str] = ()) -> None:
    assert course.round is not None
    fields = {**course._place(), "sum": course.round.sum, "cause": "masks" if blamed else "sum", "blamed": [*blamed]}
    for silo in silos:
        course._take(course._signed("verification-failed", f"silo:{silo}", **fields))


def test_a_void_training_round_leads_to_another_key_and_the_next_round() -> None:
    course = course_at_training()
    fail(course, "ada", "bern")
    assert course.round is not None
    assert (course.round.index, course.round.state, course.study.stage) == (1, "voided", "keying")
    assert (course.study.epoch, course.study.commitments) == (2, {})
    course.all_commit()
    assert (course.round.index, course.round.attempt, course.study.stage) == (2, 1, "running")
    course.everybody_works()
    assert course.study.stage == "completed"


def test_without_normalisation_or_evaluation_the_study_ends() -> None:
    course = CourseOfAStudy()
    course.all_decide_and_commit()
    serve(course)
    fail(course, "ada", "bern")
    assert (course.study.stage, course.round.state if course.round else None) == ("aborted", "served")
    assert "round 0" in (course.study.reason or "")


def test_one_failure_alone_voids_nothing_where_a_quorum_can_still_agree() -> None:
    course = course_at_training()
    fail(course, "ada")
    assert course.round is not None and course.round.state == "served"
    for step in (course.sign, course.reveal, lambda silo: course.answer(silo, "5")):
        for silo in SILOS[1:]:
            step(silo)
    assert course.study.suspended == ("ada",)


def test_a_silo_that_enough_others_blame_is_out_and_all_are_heard_before() -> None:
    course = course_at_training()
    for silo in SILOS[:3]:
        course.sign(silo)
    fail(course, "ada", blamed=["cork"])
    assert course.round is not None and course.round.state == "served"
    fail(course, "bern", blamed=["cork"])
    assert course.round.state == "served", "dale may still have something to say"
    fail(course, "dale", blamed=["cork"])
    assert (course.round.state, course.study.suspended) == ("voided", ("cork",))
    assert course.study.keying == ("ada", "bern", "dale")


def test_the_word_of_as_many_as_may_collude_puts_nobody_out() -> None:
    course = course_at_training()
    fail(course, "ada", blamed=["cork"])
    course.time_passes(TIMEOUT_S + 2)
    assert course.round is not None
    assert (course.round.state, course.study.suspended) == ("voided", ())


def test_a_study_of_paused_silos_waits_for_their_owners_and_then_goes_on() -> None:
    course = course_at_training(rounds_=3)
    fail(course, "ada", "bern")
    course.all_commit()
    serve(course)
    fail(course, "ada", "bern")
    for silo in SILOS:
        course.pause_or_resume(silo, "study-paused")
    course.all_commit()
    course.time_passes(keying_limit_s(course.study.contract) + 1)
    assert course.round is not None
    assert (course.round.index, course.round.state, course.study.stage) == (2, "voided", "keying")
    course.pause_or_resume("ada", "study-resumed")
    course.pause_or_resume("bern", "study-resumed")
    assert course.round.index == 2
    course.pause_or_resume("cork", "study-resumed")
    assert (course.round.index, course.round.silos) == (3, SILOS[:3])


def test_a_holder_that_leaves_takes_no_key_with_it_that_still_serves() -> None:
    course = course_at_training()
    course._take(course._signed("study-withdrawn", "silo:dale", reason="x"))
    assert course.study.epoch == 1, "a sum is never given another key"
    for step in (course.sign, course.reveal, lambda silo: course.answer(silo, "5")):
        for silo in SILOS[:3]:
            step(silo)
    assert (course.study.stage, course.study.epoch, course.study.keying) == ("keying", 2, SILOS[:3])


def test_a_holder_that_leaves_while_a_key_is_shared_is_left_out_of_the_next_one() -> None:
    course = CourseOfAStudy()
    course.approve()
    for silo in SILOS:
        course.accept(silo)
    course.commit("ada", 1)
    course._take(course._signed("study-withdrawn", "silo:ada", reason="x"))
    assert (course.study.epoch, course.study.keying, course.study.commitments) == (2, SILOS[1:], {})
