import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from protocol.spend import Gaussian
from silo_node.agent.study_files import StudyFiles
from silo_node.runner.messages import BadFrame

STUDY = "a" * 64
RAN = (Gaussian(noise_multiplier=2.0, count=1, unit="subject"),)


@pytest.fixture
def kept(tmp_path):
    return StudyFiles(tmp_path)


def test_a_term_is_sealed_once_under_a_freeze_however_often_it_is_sent(kept):
    made = []

    def seal():
        made.append(1)
        yield from (b"one", b"two")

    first = kept.seal_once(STUDY, 0, b"f" * 32, seal)
    again = kept.seal_once(STUDY, 0, b"f" * 32, seal)
    assert [path.read_bytes() for path in again] == [b"one", b"two"]
    assert first == again
    assert len(made) == 1
    assert len(kept.sealed_digests(STUDY, 0, b"f" * 32)) == 2


def test_a_sealing_that_was_cut_short_is_made_anew_as_nothing_of_it_was_announced(kept):
    def cut():
        yield b"one"
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        kept.seal_once(STUDY, 0, b"f" * 32, cut)
    files = kept.seal_once(STUDY, 0, b"f" * 32, lambda: [b"uno", b"due"])
    assert [path.read_bytes() for path in files] == [b"uno", b"due"]


def keep_update(kept, index, content=bytes(8)):
    def compute(file):
        file.write(content)
        return RAN

    kept.keep_update(STUDY, index, compute)


def keep_state(kept, index, content):
    kept.keep_state(STUDY, index, lambda file: file.write(content))


def files(folder):
    return sorted(path.name for path in (folder / "studies").rglob("*") if path.is_file())


def test_updates_and_states_are_kept_bit_for_bit_and_private(kept, tmp_path):
    vector = np.array([0.1, -1e-300, 3.0]).tobytes()
    assert kept.update(STUDY, 2) is None
    keep_update(kept, 2, vector)
    assert kept.update(STUDY, 2).read_bytes() == vector
    assert kept.ran(STUDY, 2) == RAN
    keep_state(kept, 2, b"state")
    assert kept.state(STUDY, 2) == b"state"
    with kept.open_state(STUDY, 2) as file:
        assert file.read() == b"state"
    assert kept.state(STUDY, 3) is kept.open_state(STUDY, 3) is None
    for path in (tmp_path / "studies").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("problem", [BadFrame("cut"), OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_of_an_update_or_a_state_that_ended_badly_nothing_stays(kept, tmp_path, problem):
    def fail(file):
        file.write(b"half of it")
        file.flush()
        raise problem

    for keep in (kept.keep_update, kept.keep_state):
        with pytest.raises(type(problem)):
            keep(STUDY, 1, fail)
    assert files(tmp_path) == []
    assert kept.update(STUDY, 1) is kept.state(STUDY, 1) is None


def test_a_state_that_is_written_anew_replaces_the_old_one_only_when_it_is_whole(kept):
    keep_state(kept, 1, b"old")

    def fail(file):
        file.write(b"new")
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        kept.keep_state(STUDY, 1, fail)
    assert kept.state(STUDY, 1) == b"old"
    keep_state(kept, 1, b"new")
    assert kept.state(STUDY, 1) == b"new"


WRITER = """
import os, signal, sys
from pathlib import Path
from silo_node.agent.study_files import StudyFiles

def write(file):
    file.write(b"half of it")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)

kept = StudyFiles(Path(sys.argv[1]))
getattr(kept, sys.argv[2])("a" * 64, 1, write)
"""


@pytest.mark.parametrize("keep", ["keep_update", "keep_state"])
def test_what_a_killed_node_left_half_written_is_not_taken_for_anything(kept, tmp_path, keep):
    keep_state(kept, 0, b"before")
    killed = subprocess.run([sys.executable, "-c", WRITER, str(tmp_path), keep], cwd=Path(__file__).parents[4])
    assert killed.returncode == -signal.SIGKILL
    assert any(name.endswith(".part") for name in files(tmp_path))
    assert (kept.newest_state(STUDY), kept.state(STUDY, 1), kept.update(STUDY, 1)) == (0, None, None)
    keep_update(kept, 1, b"12345678")
    keep_state(kept, 1, b"after")
    assert (kept.newest_state(STUDY), kept.state(STUDY, 1)) == (1, b"after")
    assert files(tmp_path) == ["ran", "state-0", "state-1", "update"]


def test_a_state_that_was_begun_and_never_ended_goes_with_the_rounds_that_are_closed(kept, tmp_path):
    keep_state(kept, 2, b"after 2")
    (tmp_path / "studies" / STUDY / "state-3.part").write_bytes(b"half of it")
    kept.forget_rounds(STUDY, 2)
    assert files(tmp_path) == ["state-2"]


def test_a_void_round_keeps_the_state_before_it_whatever_was_kept_of_it(kept):
    keep_state(kept, 1, b"after 1")
    kept.keep_same_state(STUDY, 2)
    assert (kept.newest_state(STUDY), kept.state(STUDY, 2)) == (2, b"after 1")
    keep_state(kept, 3, b"of a sum that the others refused")
    kept.keep_same_state(STUDY, 3)
    kept.forget_rounds(STUDY, 3)
    assert [kept.state(STUDY, index) for index in (1, 2, 3)] == [None, None, b"after 1"]


def test_a_void_round_without_a_state_before_it_keeps_none(kept, tmp_path):
    with pytest.raises(FileNotFoundError):
        kept.keep_same_state(STUDY, 2)
    assert files(tmp_path) == []


def test_closed_rounds_leave_only_the_newest_state(kept, tmp_path):
    for index in (1, 2, 10):
        keep_update(kept, index)
        keep_state(kept, index, b"after %d" % index)
    keep_update(kept, 11)
    assert kept.newest_state(STUDY) == 10
    kept.forget_rounds(STUDY, 10)
    assert [kept.state(STUDY, index) for index in (1, 2, 10)] == [None, None, b"after 10"]
    assert [kept.update(STUDY, index) is None for index in (1, 2, 10, 11)] == [True, True, True, False]
    assert kept.newest_state(STUDY) == 10
