"""Where reviewed code runs: a box that has the bundle, the granted rows, and a pipe out for what it wrote.

The walls are those of ``silo_node.runner.box``; the one way out is a pipe, of which a bounded number of bytes is
taken. What the code writes lies in the box's own memory file system and goes with it. Nothing runs without a box.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal, Protocol

from protocol.job_bundle import MAX_BUNDLE_BYTES
from protocol.job_harness import FINISHED
from silo_node.errors import RunnerFailed
from silo_node.runner.box.box import Box, Level, Limits, command, environment
from silo_node.runner.box.entering import REFUSED
from silo_node.runner.box.running import status_of
from silo_node.runner.level import sandbox_level

Outcome = Literal["finished", "failed", "timed-out"]
SCRATCH_MIB: Final = 64
MAX_DOCUMENT_BYTES: Final = MAX_BUNDLE_BYTES
_PIECE: Final = 1 << 16
_ONE_THREAD: Final = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")


@dataclass(frozen=True, slots=True)
class Analysis:
    """What one run needs. ``bundle``: a folder of its files; ``rows``: float64 (n, columns) in a file."""

    bundle: Path
    rows: Path
    columns: tuple[str, ...]
    seconds: int
    memory_mib: int


@dataclass(frozen=True, slots=True, repr=False)
class Ended:
    """How a run ended, and the bytes that it gave; they may be anything."""

    outcome: Outcome
    document: bytes

    def __repr__(self) -> str:
        return f"Ended({self.outcome!r}, {len(self.document)} bytes, redacted)"


class Sandbox(Protocol):
    """``level`` names the isolation, for the record."""

    level: str

    def run(self, analysis: Analysis) -> Ended:
        """Raises ``RunnerFailed`` where the box can't be made; then nothing of the analysis ran."""


class AnalysisBox:
    """The sandbox of this machine, for reviewed code: bubblewrap alone, which has a scratch folder in memory."""

    level = "bubblewrap"

    def __init__(self, found: Callable[[], Level] = sandbox_level) -> None:
        if found() != "bubblewrap":
            raise RunnerFailed("reviewed code runs only under bubblewrap, which doesn't work here: install bubblewrap")

    def run(self, analysis: Analysis) -> Ended:
        # Inside, the working folder is another one: a path that is relative to this one's leads nowhere there.
        analysis = replace(analysis, bundle=analysis.bundle.absolute(), rows=analysis.rows.absolute())
        limits = Limits(memory_mib=analysis.memory_mib, scratch_mib=SCRATCH_MIB, file_mib=SCRATCH_MIB)
        box = Box(limits, readable=(analysis.bundle, analysis.rows), environment=_ONE_THREAD)
        try:
            process = subprocess.Popen(
                command(box, "bubblewrap", _inside(analysis)),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=environment(box),
                cwd="/",
                start_new_session=True,
            )
        except OSError as error:
            raise RunnerFailed(f"the sandbox can't be started: {error.strerror}") from None
        return _followed(process, analysis.seconds)


def _inside(analysis: Analysis) -> list[str]:
    harness = ["-P", "-s", "-m", "protocol.job_harness", str(analysis.bundle), str(analysis.rows)]
    return [*harness, ",".join(analysis.columns), str(analysis.memory_mib)]


def _followed(process: "subprocess.Popen[bytes]", seconds: int) -> Ended:
    """What comes out of the box until it ends, is late, or says too much; then all in it is ended."""
    deadline = time.monotonic() + seconds
    try:
        document = _read(process, deadline)
        status = process.wait(max(0.0, deadline - time.monotonic()))
    except (TimeoutError, subprocess.TimeoutExpired):
        return Ended("timed-out", b"")
    finally:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if status_of(status) == REFUSED:
        raise RunnerFailed("the box could not be closed, so nothing of the code counts")
    return Ended("finished" if status == FINISHED else "failed", document)


def _read(process: "subprocess.Popen[bytes]", deadline: float) -> bytes:
    """Raises ``TimeoutError``. Of a document that is too long one byte more than it may have, and the box is ended."""
    pipe = process.stdout
    if pipe is None:
        raise RunnerFailed("the sandbox was started without its pipe")
    poll, data = select.poll(), bytearray()
    poll.register(pipe, select.POLLIN)
    while len(data) <= MAX_DOCUMENT_BYTES:
        if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
            raise TimeoutError
        piece = os.read(pipe.fileno(), min(_PIECE, MAX_DOCUMENT_BYTES + 1 - len(data)))
        if not piece:
            return bytes(data)
        data += piece
    os.killpg(process.pid, signal.SIGKILL)
    return bytes(data)
