import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocol.follow import Follower, Verified
from protocol.signing import sign
from protocol.spend import Gaussian
from protocol.statements import StudyApproved
from protocol.translog import LogView, VerifierKey
from silo_node.agent.tasks import Tasks
from silo_node.runner.messages import BadFrame
from tests.sample_study import NOW, consortium

GROUP = consortium()
STUDY = "a" * 64
KEY = VerifierKey("test.example/log", GROUP.log.public_key())
RAN = (Gaussian(noise_multiplier=2.0, count=1, unit="subject"),)


def statement(number: int):
    body = StudyApproved(
        type="study-approved",
        issuer="person:ada",
        issued_at=NOW,
        nonce=f"{number:032x}",
        journal_head=None,
        study=STUDY,
    )
    return sign(body, GROUP.admin.signing)


@pytest.fixture
def tasks(tmp_path):
    made = Tasks(tmp_path)
    yield made
    made.close()


def test_what_was_read_of_the_log_is_there_after_a_restart(tmp_path, tasks):
    follower = Follower("f" * 64, KEY, GROUP.charter(4), LogView("test.example/log", 7, b"r" * 32, "note"), 7)
    entries = [Verified(3, NOW, statement(3)), Verified(5, NOW, statement(5))]
    tasks.advance(follower, entries)
    again = Tasks(tmp_path)
    assert again.follower() == follower
    assert list(again.entries()) == entries


def test_an_entry_read_twice_is_refused_and_changes_nothing(tasks):
    follower = Follower("f" * 64, KEY, GROUP.charter(4), LogView("test.example/log", 7, b"r" * 32, "note"), 7)
    tasks.advance(follower, [Verified(3, NOW, statement(3))])
    later = Follower("f" * 64, KEY, GROUP.charter(4), LogView("test.example/log", 9, b"s" * 32, "note"), 9)
    with pytest.raises(Exception, match="UNIQUE"):
        tasks.advance(later, [Verified(8, NOW, statement(8)), Verified(3, NOW, statement(3))])
    assert tasks.follower() == follower
    assert len(list(tasks.entries())) == 1


def test_a_statement_is_made_once_and_the_same_bytes_are_found_again(tmp_path, tasks):
    first = tasks.say_once("accepted", lambda: statement(1))
    assert tasks.say_once("accepted", lambda: statement(2)) == first
    assert Tasks(tmp_path).say_once("accepted", lambda: statement(3)) == first


def test_a_term_is_sealed_once_under_a_freeze_however_often_it_is_sent(tasks):
    made = []

    def seal():
        made.append(1)
        yield from (b"one", b"two")

    first = tasks.seal_once(STUDY, 0, b"f" * 32, seal)
    again = tasks.seal_once(STUDY, 0, b"f" * 32, seal)
    assert [path.read_bytes() for path in again] == [b"one", b"two"]
    assert first == again
    assert len(made) == 1
    assert len(tasks.sealed_digests(STUDY, 0, b"f" * 32)) == 2


def test_a_sealing_that_was_cut_short_is_made_anew_as_nothing_of_it_was_announced(tasks):
    def cut():
        yield b"one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        tasks.seal_once(STUDY, 0, b"f" * 32, cut)
    files = tasks.seal_once(STUDY, 0, b"f" * 32, lambda: [b"uno", b"due"])
    assert [path.read_bytes() for path in files] == [b"uno", b"due"]


def keep_update(tasks, index, content=bytes(8)):
    def compute(file):
        file.write(content)
        return RAN

    tasks.keep_update(STUDY, index, compute)


def keep_state(tasks, index, content):
    tasks.keep_state(STUDY, index, lambda file: file.write(content))


def files(folder):
    return sorted(path.name for path in (folder / "studies").rglob("*") if path.is_file())


def test_updates_and_states_are_kept_bit_for_bit_and_private(tasks, tmp_path):
    vector = np.array([0.1, -1e-300, 3.0]).tobytes()
    assert tasks.update(STUDY, 2) is None
    keep_update(tasks, 2, vector)
    assert tasks.update(STUDY, 2).read_bytes() == vector
    assert tasks.ran(STUDY, 2) == RAN
    keep_state(tasks, 2, b"state")
    assert tasks.state(STUDY, 2) == b"state"
    with tasks.open_state(STUDY, 2) as file:
        assert file.read() == b"state"
    assert tasks.state(STUDY, 3) is tasks.open_state(STUDY, 3) is None
    for path in (tmp_path / "studies").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("problem", [BadFrame("cut"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_of_an_update_or_a_state_that_ended_badly_nothing_stays(tasks, tmp_path, problem):
    def fail(file):
        file.write(b"half of it")
        file.flush()
        raise problem

    for keep in (tasks.keep_update, tasks.keep_state):
        with pytest.raises(type(problem)):
            keep(STUDY, 1, fail)
    assert files(tmp_path) == []
    assert tasks.update(STUDY, 1) is tasks.state(STUDY, 1) is None


def test_a_state_that_is_written_anew_replaces_the_old_one_only_when_it_is_whole(tasks):
    keep_state(tasks, 1, b"old")

    def fail(file):
        file.write(b"new")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        tasks.keep_state(STUDY, 1, fail)
    assert tasks.state(STUDY, 1) == b"old"
    keep_state(tasks, 1, b"new")
    assert tasks.state(STUDY, 1) == b"new"


WRITER = """
import os, signal, sys
from pathlib import Path
from silo_node.agent.tasks import Tasks

def write(file):
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

tasks = Tasks(Path(sys.argv[1]))
getattr(tasks, sys.argv[2])("a" * 64, 1, write)
"""


@pytest.mark.parametrize("keep", ["keep_update", "keep_state"])
def test_what_a_killed_node_left_half_written_is_not_taken_for_anything(tasks, tmp_path, keep):
    keep_state(tasks, 0, b"before")
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), keep], cwd=Path(__file__).parents[4])
    assert killed.returncode == -signal.SIGKILL
    assert any(name.endswith(".part") for name in files(tmp_path))
    assert (tasks.newest_state(STUDY), tasks.state(STUDY, 1), tasks.update(STUDY, 1)) == (0, None, None)
    keep_update(tasks, 1, b"12345678")
    keep_state(tasks, 1, b"after")
    assert (tasks.newest_state(STUDY), tasks.state(STUDY, 1)) == (1, b"after")
    assert files(tmp_path) == ["ran", "state-0", "state-1", "update"]


def test_a_state_that_was_begun_and_never_ended_goes_with_the_rounds_that_are_closed(tasks, tmp_path):
    keep_state(tasks, 2, b"after 2")
    (tmp_path / "studies" / STUDY / "state-3.part").write_bytes(b"half of it")
    tasks.forget_rounds(STUDY, 2)
    assert files(tmp_path) == ["state-2"]


def test_a_void_round_keeps_the_state_before_it_whatever_was_kept_of_it(tasks):
    keep_state(tasks, 1, b"after 1")
    tasks.keep_same_state(STUDY, 2)
    assert (tasks.newest_state(STUDY), tasks.state(STUDY, 2)) == (2, b"after 1")
    keep_state(tasks, 3, b"of a sum that the others refused")
    tasks.keep_same_state(STUDY, 3)
    tasks.forget_rounds(STUDY, 3)
    assert [tasks.state(STUDY, index) for index in (1, 2, 3)] == [None, None, b"after 1"]


def test_a_void_round_without_a_state_before_it_keeps_none(tasks, tmp_path):
    with pytest.raises(FileNotFoundError):
        tasks.keep_same_state(STUDY, 2)
    assert files(tmp_path) == []


def test_closed_rounds_leave_only_the_newest_state(tasks, tmp_path):
    for index in (1, 2, 10):
        keep_update(tasks, index)
        keep_state(tasks, index, b"after %d" % index)
    keep_update(tasks, 11)
    assert tasks.newest_state(STUDY) == 10
    tasks.forget_rounds(STUDY, 10)
    assert [tasks.state(STUDY, index) for index in (1, 2, 10)] == [None, None, b"after 10"]
    assert [tasks.update(STUDY, index) is None for index in (1, 2, 10, 11)] == [True, True, True, False]
    assert tasks.newest_state(STUDY) == 10


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
