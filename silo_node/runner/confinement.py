"""What the reading process does to itself before it reads anything (Linux; elsewhere the pipe's end alone ends it)."""

import ctypes
import os
import resource
import select
import signal
import sys
import threading
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_DUMPABLE: Final = 4


def take_pipe() -> tuple[int, int]:
    """The (reading, writing) descriptors of the agent's pipe, taken off stdin and stdout.

    What a library prints must not get among the frames, so both standard streams become the null device.
    """
    reading, writing = os.dup(0), os.dup(1)
    null = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(null, standard)
    os.close(null)
    return reading, writing


def leave_no_trace() -> None:
    """No core file, and no other process of this user may read this one's memory."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.umask(0o077)
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


def end_with(parent: int) -> None:
    """Ends this process as soon as the thread of ``parent`` (a process id) that started it is gone (Linux alone).

    0 stands for a parent that can't be seen from here: then bubblewrap ends this process with it.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have gone before the line above.
    if parent and os.getppid() != parent:
        os._exit(1)


def die_with(parent: int, reading: int) -> None:
    """Ends this process as ``end_with`` does, and as soon as the pipe ``reading`` is closed."""
    end_with(parent)
    threading.Thread(target=_exit_on_hangup, args=(reading,), daemon=True, name="hangup").start()


def _exit_on_hangup(reading: int) -> None:
    poll = select.poll()
    poll.register(reading, 0)  # Hang-ups are always reported; waiting tasks are the main thread's.
    poll.poll()
    os._exit(0)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
