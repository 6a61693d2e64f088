"""Where the privacy self-test runs: a process in the box that the reader of rows has, without any dataset in it."""

import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import IO, Final, cast

from pydantic import ValidationError

from silo_node.errors import RunnerFailed
from silo_node.runner.box.box import Box, Level, Limits, command, environment
from silo_node.runner.box.entering import REFUSED
from silo_node.runner.box.running import status_of
from silo_node.selftest.measured import SAID, Depth, Finished, Said

LIMIT_S: Final[dict[Depth, int]] = {"quick": 600, "thorough": 3600}
MOST_FIGURES: Final = 1_000
_MOST_BYTES: Final = 10_000
_SCRATCH_MIB: Final = 256
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


def run_self_test(depth: Depth, level: Level, memory_mib: int, limit_s: float | None = None) -> Iterator[Said]:
    """What the tested process says, as it says it: ``Begun`` first, ``Finished`` last.

    Raises ``RunnerFailed`` where it can't be started, says anything else, ends before it is finished or is late.
    """
    late = threading.Event()
    with _started(depth, level, memory_mib) as process:

        def end() -> None:
            late.set()
            _kill(process)

        timer = threading.Timer(LIMIT_S[depth] if limit_s is None else limit_s, end)
        timer.start()
        try:
            yield from _said(cast(IO[bytes], process.stdout))
        except RunnerFailed as problem:
            raise _ended(process, late.is_set(), problem) from None
        finally:
            timer.cancel()


def _said(answers: IO[bytes]) -> Iterator[Said]:
    for _ in range(MOST_FIGURES):
        line = answers.readline(_MOST_BYTES)
        if not line:
            raise RunnerFailed("the self-test ended before it was finished")
        try:
            one = SAID.validate_json(line)
        except ValidationError:
            raise RunnerFailed("the process of the self-test said what no self-test says") from None
        yield one
        if isinstance(one, Finished):
            return
    raise RunnerFailed("the process of the self-test said more than it may")


@contextmanager
def _started(depth: Depth, level: Level, memory_mib: int) -> Iterator["subprocess.Popen[bytes]"]:
    """The process, gone when the block ends however it ends."""
    box = Box(Limits(memory_mib, scratch_mib=_SCRATCH_MIB), environment=_ONE_THREAD)
    with tempfile.TemporaryDirectory(prefix="consortia-self-test-") as scratch:
        if level != "bubblewrap":  # which has a /tmp in memory of its own: libraries of training stop without one
            box = replace(box, writable=Path(scratch), environment={**_ONE_THREAD, "TMPDIR": scratch, "HOME": scratch})
        try:
            process = subprocess.Popen(
                command(box, level, ["-P", "-s", "-m", "silo_node.selftest", depth]),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(box),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise RunnerFailed(f"the self-test can't be started: {error.strerror}") from None
        with process:
            try:
                yield process
            finally:
                _kill(process)


def _ended(process: "subprocess.Popen[bytes]", late: bool, problem: RunnerFailed) -> RunnerFailed:
    if late:
        return RunnerFailed("the self-test took longer than it may, and was ended")
    try:
        status = status_of(process.wait(timeout=1))
    except subprocess.TimeoutExpired:
        return problem
    if status == REFUSED:
        return RunnerFailed("the box of the self-test could not be closed, so nothing was run in it")
    return RunnerFailed(f"{problem}: its process ended with {status}")


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
