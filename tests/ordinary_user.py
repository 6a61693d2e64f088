"""Runs a command as an ordinary user, on a machine where tests run as root: ``WALLS COMMAND...``.

WALLS is ``open``, or what Docker's default seccomp profile does to a container without capabilities (``docker``: no
new namespaces, no mounts), or the same and no Landlock (``bare``). Who is no root already stays who they are.
"""

import ctypes
import os
import struct
import sys
from pathlib import Path

UID = 65534
_NEW_MOUNTS, _PRIVATE, _BIND = 0x00020000, 1 << 18 | 1 << 14, 1 << 12 | 1 << 14
_EPERM, _ENOSYS, _ALLOW = 0x00050001, 0x00050026, 0x7FFF0000
_DENIED = ("unshare", "mount", "umount2", "pivot_root", "setns", "move_mount", "open_tree", "fsopen", "fsmount")
_LANDLOCK = 444

libc = ctypes.CDLL(None, use_errno=True)


def command(walls: str, words: list[str]) -> list[str]:
    return [sys.executable, "-P", __file__, walls, *words]


def main(walls: str, words: list[str]) -> None:
    if os.geteuid() == 0:
        _open_ways()
        os.setgroups([])
        os.setgid(UID)
        os.setuid(UID)
    if walls != "open":
        _deny(with_landlock=walls == "bare")
    os.execv(words[0], words)  # noqa: S606


def _open_ways() -> None:
    """In a mount namespace of its own: the interpreter may lie in a home that only root may enter."""
    _check(libc.unshare(_NEW_MOUNTS))
    _check(libc.mount(b"none", b"/", None, _PRIVATE, None))
    for path in (Path(sys.base_prefix), Path(sys.prefix)):
        closed = [folder for folder in reversed(path.parents) if not folder.stat().st_mode & 0o001]
        if closed:
            held = os.open(path, os.O_PATH)
            _check(libc.mount(b"none", bytes(closed[0]), b"tmpfs", 0, b"mode=0755"))
            path.mkdir(parents=True)
            _check(libc.mount(f"/proc/self/fd/{held}".encode(), bytes(path), None, _BIND, None))


def _deny(with_landlock: bool) -> None:
    from silo_node.runner.box.system_calls import numbers

    number = numbers(os.uname().machine)
    lines = [_line(0x20, 0)]
    for name in _DENIED:
        lines += [_line(0x15, number[name], 0, 1), _line(0x06, _EPERM)]
    lines += [_line(0x15, number["clone3"], 0, 1), _line(0x06, _ENOSYS)]
    lines += [_line(0x15, number["clone"], 0, 3), _line(0x20, 16), _line(0x45, 0x7E020000, 0, 1), _line(0x06, _EPERM)]
    lines += [_line(0x20, 0)]
    if with_landlock:
        lines += [_line(0x15, _LANDLOCK, 0, 1), _line(0x06, _ENOSYS)]
    program = b"".join([*lines, _line(0x06, _ALLOW)])

    class Filter(ctypes.Structure):
        _fields_ = (("length", ctypes.c_ushort), ("lines", ctypes.c_char_p))

    _check(libc.prctl(38, 1, 0, 0, 0))
    _check(libc.prctl(22, 2, ctypes.byref(Filter(len(program) // 8, program)), 0, 0))


def _line(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)


def _check(result: int) -> None:
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
