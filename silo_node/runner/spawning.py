"""How the process that reads rows is started: with nothing of the agent's but one pipe."""

import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import silo_node
from silo_node.errors import RunnerFailed
from silo_node.runner.messages import Pipe

_ROOT: Final = Path(silo_node.__file__).resolve().parents[1]


@dataclass(frozen=True, slots=True)
class Child:
    """A started process and the agent's end of its pipe."""

    process: "subprocess.Popen[bytes]"
    pipe: Pipe

    def alive(self) -> bool:
        return self.process.poll() is None


def spawn(folder: Path, clock: Callable[[], float], warm: bool) -> Child:
    """The child, started by a thread that lives as long as it; a ``warm`` one imports what training needs at once.

    Linux sends the parent-death signal when the *thread* that started a child ends, so a child started from a
    short-lived worker thread would die with that one.
    """
    arguments = [str(folder), str(os.getpid()), "warm" if warm else "cold"]
    command = [sys.executable, "-P", "-s", "-m", "silo_node.runner", *arguments]
    started: queue.SimpleQueue[subprocess.Popen[bytes] | OSError] = queue.SimpleQueue()
    child_reading, writing = os.pipe()
    reading, child_writing = os.pipe()

    def keep() -> None:
        try:
            process = subprocess.Popen(
                command,
                stdin=child_reading,
                stdout=child_writing,
                stderr=subprocess.DEVNULL,  # A traceback quotes what it was working on.
                env=_environment(),
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
    return Child(process, Pipe(reading, writing, clock))


def _environment() -> dict[str, str]:
    """Nothing of the agent's own environment, where passphrases and tokens may stand."""
    return {
        "PATH": "/usr/bin:/bin",
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(_ROOT),
        "PYTHONDONTWRITEBYTECODE": "1",
        # One thread: it beats two on small models (privacy.md), and silos share machines.
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "POLARS_MAX_THREADS": "1",
    }
