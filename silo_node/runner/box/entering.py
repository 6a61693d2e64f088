"""``python -m silo_node.runner.box.entering TERMS COMMAND...``: gives up what TERMS say, then becomes COMMAND.

It runs at the box's door, before any code that the box is for. It imports little, since every start waits for it.
"""

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any, Final

from silo_node.runner.box import landlock, system_calls

REFUSED: Final = 96
"""The exit status where the box could not be closed; COMMAND was not run then."""
_LIMITS: Final = ("AS", "CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC")
_PARENT_DEATH, _NO_NEW_PRIVILEGES, _DROP_FROM_BOUNDS, _SECCOMP, _FILTER = 1, 38, 24, 22, 2
_CAPABILITIES: Final = 64
_DESCRIPTORS: Final = 65_536
_CAPABILITY_VERSION: Final = 0x20080522


def main(arguments: list[str]) -> int:
    """The exit status, if COMMAND could not be run.

    TERMS is JSON: ``limits`` by name; ``threads``, how many there may be beside those that this user has now, or null;
    and ``landlock`` with ``readable``, ``writable`` and ``listable`` paths, or null.
    """
    terms, command = json.loads(arguments[0]), arguments[1:]
    try:
        close(terms)
    except (OSError, KeyError, ValueError) as error:
        sys.stderr.write(f"the box cannot be closed: {error}\n")
        return REFUSED
    os.execv(command[0], command)  # noqa: S606  # No shell is meant.
    return REFUSED


def close(terms: dict[str, Any]) -> None:
    """Closes the box around this process. Raises ``OSError`` where the kernel refuses, with nothing run."""
    os.closerange(3, _DESCRIPTORS)
    os.umask(0o077)
    for name, most in terms["limits"].items():
        if name not in _LIMITS:
            raise ValueError(f"no limit is named {name}")
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    if terms["threads"] is not None and os.getuid() != 0:  # Root is not held to it.
        most = threads_of(os.getuid()) + terms["threads"]
        resource.setrlimit(resource.RLIMIT_NPROC, (most, most))
    libc = ctypes.CDLL(None, use_errno=True)
    _prctl(libc, _PARENT_DEATH, signal.SIGKILL)
    _drop_capabilities(libc)
    _prctl(libc, _NO_NEW_PRIVILEGES, 1)
    files = terms["landlock"]
    if files is not None:
        landlock.restrict([*files["readable"], f"/proc/{os.getpid()}"], files["writable"], files["listable"])
    _filter(libc, system_calls.program(os.uname().machine, os.getpid(), keeps_metadata=files is not None))


def threads_of(user: int) -> int:
    """How many the processes of ``user`` have that can be seen: without a user namespace all of them count."""
    found, theirs = 0, b"\nUid:\t%d\t" % user
    for entry in os.scandir("/proc"):
        if not entry.name.isdecimal():
            continue
        try:
            # The folder of a process that hides its memory belongs to root, whoever runs it: its status tells.
            with open(f"{entry.path}/status", "rb", buffering=0) as file:  # noqa: PTH123  # pathlib takes time to import.
                status = file.read(4096)
        except OSError:
            continue
        if theirs in status:
            found += int(status.partition(b"\nThreads:\t")[2].partition(b"\n")[0])
    return found


def _drop_capabilities(libc: ctypes.CDLL) -> None:
    """Also those that root would get back by running a program. Who has none, and may not drop any, needs not."""
    for capability in range(_CAPABILITIES):
        libc.prctl(_DROP_FROM_BOUNDS, ctypes.c_ulong(capability), 0, 0, 0)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION, 0)
    if libc.capset(header, (ctypes.c_uint32 * 6)()) != 0:
        raise OSError(ctypes.get_errno(), "capabilities cannot be dropped")


def _filter(libc: ctypes.CDLL, program: bytes) -> None:
    class Program(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))

    _prctl(libc, _SECCOMP, _FILTER, ctypes.byref(Program(len(program) // 8, program)))


def _prctl(libc: ctypes.CDLL, option: int, value: int, pointer: Any = 0) -> None:
    if libc.prctl(option, ctypes.c_ulong(value), pointer, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
