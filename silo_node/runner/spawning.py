"""How the process that reads rows is started: in a box, with nothing of the agent's but one pipe and one dataset."""

import os
import queue
import subprocess
import tempfile
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from silo_node.errors import RunnerFailed
from silo_node.runner.box.box import Box, Level, Limits, command, environment
from silo_node.runner.messages import Pipe

_PROGRAM: Final = ("-P", "-s", "-m", "silo_node.runner")
_UNSEEN_PARENT: Final = 0
# One thread: it beats two on small models (privacy.md), and silos share machines.
_THREADS: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Child:
    """A started process and the agent's end of its pipe."""

    process: "subprocess.Popen[bytes]"
    pipe: Pipe
    scratch: "tempfile.TemporaryDirectory[str] | None" = None
    fetched: Path | None = None

    def alive(self) -> bool:
        return self.process.poll() is None

    def clear(self) -> None:
        """Removes what lay on the disk for this process alone."""
        if self.scratch is not None:
            self.scratch.cleanup()
        if self.fetched is not None:
            self.fetched.unlink(missing_ok=True)


def reading_box(seen: tuple[Path, ...], memory_mib: int) -> Box:
    """The box of the process that reads rows: it sees ``seen`` of the silo, and has a /tmp in memory."""
    limits = Limits(memory_mib, scratch_mib=memory_mib, file_mib=memory_mib)
    return Box(limits, readable=seen, environment=_THREADS)


def _with_scratch(box: Box, folder: str) -> Box:
    """``box`` where it has no /tmp of its own: libraries of training stop without one."""
    return replace(box, writable=Path(folder), environment={**box.environment, "TMPDIR": folder, "HOME": folder})


def spawn(
    folder: Path, box: Box, level: Level, clock: Callable[[], float], warm: bool, fetched: Path | None = None
) -> Child:
    """The child, started by a thread that lives as long as it; a ``warm`` one imports what training needs at once.

    ``fetched`` is the file with what a query gave, which ``box`` holds; it goes with the child.

    Linux sends the parent-death signal when the *thread* that started a child ends, so a child started from a
    short-lived worker thread would die with that one.
    """
    scratch = tempfile.TemporaryDirectory(prefix="consortia-box-") if level == "landlock" else None
    if scratch is not None:
        box = _with_scratch(box, scratch.name)
    parent = _UNSEEN_PARENT if level == "bubblewrap" else os.getpid()
    arguments = [*_PROGRAM, str(folder), str(parent), "warm" if warm else "cold", *([str(fetched)] if fetched else [])]
    started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
    child_reading, writing = os.pipe()
    reading, child_writing = os.pipe()

    def keep() -> None:
        try:
            process = subprocess.Popen(
                command(box, level, arguments),
                stdin=child_reading,
                stdout=child_writing,
                stderr=subprocess.DEVNULL,  # A traceback quotes what it was working on.
                env=environment(box),
                cwd="/",
                start_new_session=True,  # Ctrl-C at the terminal is the agent's to handle.
            )
        except OSError as error:
            started.put(error)
            return
        started.put(process)
        process.wait()

    threading.Thread(target=keep, daemon=True, name="runner-keeper").start()
    process = started.get()
    os.close(child_reading)
    os.close(child_writing)
    if isinstance(process, OSError):
        os.close(reading)
        os.close(writing)
        raise RunnerFailed(f"the process that reads rows cannot be started: {process.strerror}")
    return Child(process, Pipe(reading, writing, clock), scratch, fetched)
