"""Runs code in a box to its end, within its time and with outputs of a bounded size."""

import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, Literal

from silo_node.errors import RunnerFailed
from silo_node.runner.box.box import Box, Level, command, environment
from silo_node.runner.box.entering import REFUSED

TOLD_BYTES: Final = 64 * 1024
_LOOK_S: Final = 0.05

Ended = Literal["itself", "seconds", "outputs"]


@dataclass(frozen=True, slots=True)
class Outputs:
    """How much may lie in a box's ``writable`` folder: bytes on disk, and files and folders."""

    bytes: int
    entries: int


@dataclass(frozen=True, slots=True, repr=False)
class Finished:
    """How it ended: by ``itself`` with ``status`` (negative: a signal), or it was killed over one of its bounds.

    ``told`` is the end of what it printed. It may hold rows: for the owner's eyes only.
    """

    ended: Ended
    status: int
    told: bytes

    def __repr__(self) -> str:
        return f"Finished(ended={self.ended!r}, status={self.status}, told redacted)"


def run(
    box: Box,
    level: Level,
    arguments: Sequence[str],
    seconds: float,
    outputs: Outputs,
    clock: Callable[[], float] = time.monotonic,
) -> Finished:
    """Runs this interpreter with ``arguments`` in ``box``, and waits. Raises ``RunnerFailed`` if it can't be started.

    The folder is looked at every 50 ms: it may hold somewhat more than its bound when the code is killed, each of its
    files at most ``box.limits.file_mib``. Whoever reads it still checks sizes and refuses links.
    """
    with tempfile.TemporaryFile() as told:
        process = _start(box, level, arguments, told)
        try:
            ended = _wait(process, box.writable, clock() + seconds, outputs, clock)
        finally:
            _kill(process)
        told.seek(max(0, told.seek(0, os.SEEK_END) - TOLD_BYTES))
        if process.returncode == REFUSED:
            raise RunnerFailed("the box could not be closed, so nothing was run in it")
        return Finished(ended, status_of(process.returncode), told.read())


def status_of(code: int) -> int:
    """The exit status of what ran in a box: bubblewrap tells a signal as 128 and its number."""
    return 128 - code if code > 128 else code


def _start(box: Box, level: Level, arguments: Sequence[str], told: BinaryIO) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            command(box, level, arguments),
            stdin=subprocess.DEVNULL,
            stdout=told,
            stderr=told,
            env=environment(box),
            cwd="/",
            start_new_session=True,
        )
    except OSError as error:
        raise RunnerFailed(f"the box cannot be started: {error.strerror}") from None


def _wait(
    process: "subprocess.Popen[bytes]", folder: Path | None, until: float, outputs: Outputs, clock: Callable[[], float]
) -> Ended:
    while True:
        try:
            process.wait(_LOOK_S)
            return "outputs" if folder and over(folder, outputs) else "itself"
        except subprocess.TimeoutExpired:
            if clock() > until:
                return "seconds"
            if folder and over(folder, outputs):
                return "outputs"


def over(folder: Path, outputs: Outputs) -> bool:
    """Whether ``folder`` holds more than ``outputs``; links are counted and not followed."""
    size = entries = 0
    for path, folders, files in os.walk(folder):
        for name in (*folders, *files):
            entries += 1
            try:
                found = (Path(path) / name).lstat()
            except FileNotFoundError:
                continue
            size += max(found.st_size, 512 * found.st_blocks)
            if entries > outputs.entries or size > outputs.bytes:
                return True
    return False


def _kill(process: "subprocess.Popen[bytes]") -> None:
    if process.poll() is None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
