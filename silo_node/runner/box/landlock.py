"""Landlock (landlock(7), Linux 5.13 and later): this process gives up every file but those it is told to keep.

From version 3 (Linux 6.2) on it rules truncation too; before that, what it guards could be emptied, so earlier ones
count as none.
"""

import ctypes
import os
import stat
import struct
from collections.abc import Iterable
from typing import Final

LEAST_VERSION: Final = 3
_CREATE, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # The same on every architecture.
_ASK_VERSION: Final = 1
_PATH_BENEATH: Final = 1

_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR, _TRUNCATE = 1 << 0, 1 << 1, 1 << 2, 1 << 3, 1 << 14
_ALL_OF_3: Final = (1 << 15) - 1
_IOCTL_DEVICE: Final = 1 << 15
_REMOVE_AND_MAKE: Final = 1 << 4 | 1 << 5 | 1 << 7 | 1 << 8  # folders and regular files
_OF_A_FILE: Final = _EXECUTE | _WRITE_FILE | _READ_FILE | _TRUNCATE
READ: Final = _EXECUTE | _READ_FILE | _READ_DIR
WRITE: Final = READ & ~_EXECUTE | _WRITE_FILE | _TRUNCATE | _REMOVE_AND_MAKE
_TCP: Final = 1 << 0 | 1 << 1
_ABSTRACT_SOCKETS_AND_SIGNALS: Final = 1 << 0 | 1 << 1


def version() -> int:
    """Which version the kernel has, 0 if none."""
    return max(0, int(_libc().syscall(_CREATE, None, ctypes.c_size_t(0), ctypes.c_uint32(_ASK_VERSION))))


def restrict(readable: Iterable[str], writable: Iterable[str], listable: Iterable[str]) -> None:
    """Leaves this process, and what it runs, the files at and below ``readable`` and ``writable``, and the names of
    those below ``listable``; missing ones are passed over. No TCP, abstract sockets or signals to others, where the
    kernel can rule them. Raises ``OSError``."""
    found = version()
    if found < LEAST_VERSION:
        raise OSError(f"Landlock has version {found}, at least {LEAST_VERSION} is needed")
    ruleset = _call(_CREATE, _attributes(found), _size(found), 0)
    try:
        for rights, paths in ((READ, readable), (WRITE, writable), (_READ_DIR, listable)):
            for path in paths:
                _keep(ruleset, path, rights)
        _call(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)


def _attributes(found: int) -> bytes:
    """``struct landlock_ruleset_attr``."""
    files = _ALL_OF_3 | (_IOCTL_DEVICE if found >= 5 else 0)
    return struct.pack("=QQQ", files, _TCP, _ABSTRACT_SOCKETS_AND_SIGNALS)


def _size(found: int) -> ctypes.c_size_t:
    """How much of it version ``found`` knows."""
    return ctypes.c_size_t(24 if found >= 6 else 16 if found >= 4 else 8)


def _keep(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except FileNotFoundError:
        return
    try:
        allowed = rights if stat.S_ISDIR(os.fstat(opened).st_mode) else rights & _OF_A_FILE
        _call(_ADD_RULE, ruleset, _PATH_BENEATH, struct.pack("=Qi", allowed, opened), 0)
    finally:
        os.close(opened)


def _call(number: int, *arguments: object) -> int:
    result = int(_libc().syscall(number, *arguments))
    if result < 0:
        raise OSError(ctypes.get_errno(), "Landlock")
    return result


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)
