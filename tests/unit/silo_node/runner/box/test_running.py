"""Code run in a box: its time, its outputs, and the table of calls that it may not make."""

import ctypes
import os
import shutil
import time
from pathlib import Path

import pytest

from silo_node.runner.box.box import MIB, Box, Level, Limits
from silo_node.runner.box.running import Finished, Outputs, over, run
from silo_node.runner.box.system_calls import ARCHITECTURES, numbers

LIMITS = Limits(memory_mib=512, file_mib=4)
OUTPUTS = Outputs(bytes=8 * MIB, entries=20)


@pytest.fixture(params=["bubblewrap", "landlock"])
def level(request: pytest.FixtureRequest) -> Level:
    found: Level = request.param
    return found


def boxed(level: Level, out: Path, program: str, seconds: float = 60) -> Finished:
    return run(Box(LIMITS, writable=out), level, ["-c", program, str(out)], seconds, OUTPUTS)


def test_code_reads_what_it_was_given_and_what_it_writes_is_found(level: Level, tmp_path: Path) -> None:
    out, rows = tmp_path / "out", tmp_path / "rows"
    out.mkdir()
    rows.write_text("41")
    program = "import sys; open(sys.argv[1] + '/sum', 'w').write(str(int(open(sys.argv[2]).read()) + 1)); print('told')"
    box = Box(LIMITS, readable=(rows,), writable=out)
    finished = run(box, level, ["-c", program, str(out), str(rows)], 60, OUTPUTS)
    assert (finished.ended, finished.status, finished.told) == ("itself", 0, b"told\n")
    assert (out / "sum").read_text() == "42"
    assert "told" not in repr(finished).replace("told redacted", "")


def test_an_exit_status_and_a_signal_are_told_apart(level: Level, tmp_path: Path) -> None:
    assert boxed(level, tmp_path, "import sys; sys.exit(3)").status == 3
    assert boxed(level, tmp_path, "import ctypes; ctypes.string_at(0)").status == -11


def test_code_over_its_time_is_killed(level: Level, tmp_path: Path) -> None:
    program = "import signal, time\nfor n in (1, 2, 15): signal.signal(n, signal.SIG_IGN)\nwhile True: time.sleep(60)"
    began = time.monotonic()
    assert boxed(level, tmp_path, program, seconds=1).ended == "seconds"
    assert time.monotonic() - began < 30


def test_processor_time_is_bounded_too(level: Level, tmp_path: Path) -> None:
    box = Box(Limits(memory_mib=512, cpu_s=1), writable=tmp_path)
    finished = run(box, level, ["-c", "while True: pass"], 60, OUTPUTS)
    assert (finished.ended, finished.status) in {("itself", -9), ("itself", -24)}


def test_a_file_ends_at_its_bound(level: Level, tmp_path: Path) -> None:
    finished = boxed(level, tmp_path, "import sys; open(sys.argv[1] + '/a', 'wb').write(bytes(6 << 20))")
    assert finished.status != 0
    assert (tmp_path / "a").stat().st_size <= 4 * MIB


def test_outputs_over_their_bytes_end_it(level: Level, tmp_path: Path) -> None:
    program = "import sys, time\nfor n in range(4): open(f'{sys.argv[1]}/{n}', 'wb').write(bytes(3 << 20))\n"
    assert boxed(level, tmp_path, program).ended == "outputs"
    assert boxed(level, tmp_path, program + "time.sleep(600)").ended == "outputs"


def test_outputs_of_too_many_files_or_folders_end_it(level: Level, tmp_path: Path) -> None:
    program = "import os, sys\nfor n in range(30): os.mkdir(f'{sys.argv[1]}/{n}')"
    assert boxed(level, tmp_path, program).ended == "outputs"


def test_what_it_prints_is_kept_to_its_end(level: Level, tmp_path: Path) -> None:
    told = boxed(level, tmp_path, "print('x' * 200_000 + 'end')").told
    assert len(told) == 64 * 1024
    assert told.endswith(b"end\n")


def test_links_in_outputs_are_counted_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "big").write_bytes(bytes(9 << 20))
    out = tmp_path / "out"
    out.mkdir()
    (out / "link").symlink_to(tmp_path / "big")
    (out / "folder").symlink_to(tmp_path)
    assert not over(out, OUTPUTS)
    assert over(out, Outputs(bytes=8 * MIB, entries=1))


def test_a_sparse_file_counts_with_its_whole_size(tmp_path: Path) -> None:
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(9 << 20)
    assert over(tmp_path, OUTPUTS)


def test_a_box_that_cannot_be_closed_runs_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from silo_node.errors import RunnerFailed
    from silo_node.runner.box import box

    terms = box._terms
    monkeypatch.setattr(box, "_terms", lambda *a: {**terms(*a), "limits": {"ROWS": 1}})
    with pytest.raises(RunnerFailed, match="could not be closed"):
        boxed("bubblewrap", tmp_path, "import sys; open(sys.argv[1] + '/ran', 'w')")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("machine", list(ARCHITECTURES))
def test_the_numbers_of_calls_are_those_of_libseccomp(machine: str) -> None:
    """An independent list: a wrong number would leave a call open, or close another."""
    library = ctypes.CDLL("libseccomp.so.2")
    for name, number in numbers(machine).items():
        known = library.seccomp_syscall_resolve_name_arch(ARCHITECTURES[machine], name.encode())
        # -1: newer than the library.
        assert known in (number, -1), name


def test_another_machine_is_refused_and_not_run_unfiltered() -> None:
    with pytest.raises(KeyError, match="riscv64"):
        numbers("riscv64")


def test_this_machine_has_bubblewrap() -> None:
    """Without it the tests at its level would show nothing (packages.txt)."""
    assert shutil.which("bwrap")
