import threading
import time

import pytest

from protocol.follow import Follower, Verified
from protocol.signing import sign
from protocol.study_statements import StudyApproved
from protocol.translog import LogView
from silo_node.agent.tasks import Tasks
from tests.sample_study import NOW, consortium

GROUP = consortium()
STUDY = "a" * 64


def statement(number: int):
    body = StudyApproved(
        type="study-approved",
        issuer="person:ada",
        issued_at=NOW,
        nonce=f"{number:032x}",
        journal_head=None,
        study=STUDY,
        assertion=None,
    )
    return sign(body, GROUP.admin.signing)


@pytest.fixture
def tasks(tmp_path):
    made = Tasks(tmp_path)
    yield made
    made.close()


def test_what_was_read_of_the_log_is_there_after_a_restart(tmp_path, tasks):
    follower = Follower("f" * 64, GROUP.charter(4), LogView("test.example/log", 7, b"r" * 32, "note"), 7)
    entries = [Verified(3, NOW, statement(3)), Verified(5, NOW, statement(5))]
    tasks.advance(follower, entries)
    again = Tasks(tmp_path)
    assert again.follower() == follower
    assert list(again.entries()) == entries


def test_an_entry_read_twice_is_refused_and_changes_nothing(tasks):
    follower = Follower("f" * 64, GROUP.charter(4), LogView("test.example/log", 7, b"r" * 32, "note"), 7)
    tasks.advance(follower, [Verified(3, NOW, statement(3))])
    later = Follower("f" * 64, GROUP.charter(4), LogView("test.example/log", 9, b"s" * 32, "note"), 9)
    with pytest.raises(Exception, match="UNIQUE"):
        tasks.advance(later, [Verified(8, NOW, statement(8)), Verified(3, NOW, statement(3))])
    assert tasks.follower() == follower
    assert len(list(tasks.entries())) == 1


def test_a_statement_is_made_once_and_the_same_bytes_are_found_again(tmp_path, tasks):
    first = tasks.say_once("accepted", lambda: statement(1))
    assert tasks.say_once("accepted", lambda: statement(2)) == first
    assert Tasks(tmp_path).say_once("accepted", lambda: statement(3)) == first


def test_of_a_command_and_a_node_that_say_the_same_at_once_one_makes_the_statement_and_both_send_it(tmp_path, tasks):
    making, made, said = threading.Event(), [], []

    def slowly(number):
        made.append(number)
        making.set()
        time.sleep(0.2)
        return statement(number)

    def say(number):
        mine = Tasks(tmp_path)
        said.append(mine.say_once("dataset:heart", lambda: slowly(number)))
        mine.close()

    first = threading.Thread(target=say, args=(1,))
    first.start()
    making.wait(10)
    say(2)
    first.join(10)
    assert made == [1]
    assert said == [statement(1), statement(1)]


def test_what_stops_a_statement_from_being_made_leaves_nothing_kept(tasks):
    with pytest.raises(RuntimeError):
        tasks.say_once("accepted", lambda: (_ for _ in ()).throw(RuntimeError))
    assert tasks.kept("accepted") is None
    assert tasks.say_once("accepted", lambda: statement(1)) == statement(1)


def test_an_owners_newest_answer_takes_back_the_opposite_one(tasks):
    tasks.answer(STUDY, "accept", "")
    tasks.answer(STUDY, "refuse", "second thoughts")
    assert (tasks.answered(STUDY, "accept"), tasks.answered(STUDY, "refuse")) == (None, "second thoughts")
    tasks.answer(STUDY, "release", "")
    assert (tasks.answered(STUDY, "refuse"), tasks.answered(STUDY, "release")) == (None, "")


def test_the_first_reason_for_halting_stays(tasks):
    assert tasks.halted(STUDY) is None
    tasks.halt(STUDY, "first")
    tasks.halt(STUDY, "second")
    assert tasks.halted(STUDY) == "first"
