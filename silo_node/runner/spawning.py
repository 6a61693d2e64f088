"""How the process that reads rows is started: in a box, with nothing of the agent's but one pipe and one dataset."""

import os
import queue
import subprocess
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from silo_node.dataset.scratch import SCRATCH
from silo_node.errors import RunnerFailed
from silo_node.runner.box.box import Box, Level, Limits, command, environment
from silo_node.runner.fetching import Fetching
from silo_node.runner.lent_files import LentFiles
from silo_node.runner.messages import Pipe

_PROGRAM: Final = ("-P", "-s", "-m", "silo_node.runner")
_UNSEEN_PARENT: Final = 0
_SMALL_FILES_MIB: Final = 256
# One thread: it beats two on small models (privacy.md), and silos share machines.
_THREADS: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "POLARS_MAX_THREADS"), "1"
)


@dataclass(frozen=True, slots=True)
class Child:
    """A started process, the agent's end of its pipe, what it is lent, and the query that is asked for it."""

    process: "subprocess.Popen[bytes]"
    pipe: Pipe
    level: Level
    lent: LentFiles
    fetching: Fetching | None = None

    def alive(self) -> bool:
        return self.process.poll() is None

    def settle(self) -> None:
        """It has all that it is lent. Where that is bound into a file system of its own, names are needed no more."""
        if self.level == "bubblewrap":
            self.lent.remove()

    def clear(self) -> None:
        """Ends the query, and removes what lay on the disk for this process alone."""
        if self.fetching is not None:
            self.fetching.end()
        self.lent.remove()


def reading_box(seen: tuple[Path, ...], lent: LentFiles, level: Level, memory_mib: int, disk_mib: int) -> Box:
    """The box of the process that reads rows: it sees ``seen`` of the silo, and may write what it is ``lent``.

    Under bubblewrap it has a /tmp in memory, and the two files for rows. Under Landlock, where libraries of training
    stop without a folder for temporary files, it has that on the disk, and rows go there.
    """
    limits = Limits(memory_mib, mapped_mib=disk_mib, scratch_mib=_SMALL_FILES_MIB, file_mib=disk_mib)
    readable = (*seen, *([lent.fetched] if lent.fetched else []))
    if level == "landlock":
        places = dict.fromkeys(("TMPDIR", "HOME"), str(lent.folder))
        return Box(limits, readable=readable, writable=lent.folder, environment={**_THREADS, **places})
    return Box(limits, readable=readable, scratch=lent.scratch, environment={**_THREADS, SCRATCH: str(lent.room)})


def spawn(
    folder: Path,
    box: Box,
    level: Level,
    clock: Callable[[], float],
    warm: bool,
    lent: LentFiles,
    fetching: Fetching | None,
) -> Child:
    """The child, started by a thread that lives as long as it; a ``warm`` one imports what training needs at once.

    ``lent`` and ``fetching`` go with it, also where it can't be started.

    Linux sends the parent-death signal when the *thread* that started a child ends, so a child started from a
    short-lived worker thread would die with that one.
    """
    parent = _UNSEEN_PARENT if level == "bubblewrap" else os.getpid()
    arguments = [*_PROGRAM, str(folder), str(parent), "warm" if warm else "cold"]
    arguments += [str(lent.fetched)] if lent.fetched else []
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
        if fetching is not None:
            fetching.end()
        lent.remove()
        raise RunnerFailed(f"the process that reads rows cannot be started: {process.strerror}")
    return Child(process, Pipe(reading, writing, clock), level, lent, fetching)
