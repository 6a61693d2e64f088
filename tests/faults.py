"""A process that is killed, or a disk that is full, at each of the file system's calls that a piece of work makes."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

CALLS = ("open", "fsync", "replace", "unlink")
KILLED = 9
MOST_CALLS = 100


@contextmanager
def at_call(step: int, fault: Callable[[], None]) -> Iterator[None]:
    """Before the work's call number ``step`` (from 1) of ``CALLS`` the fault happens."""
    real, made = {name: getattr(os, name) for name in CALLS}, 0

    def counted(name: str) -> Callable[..., object]:
        def call(*given: object, **named: object) -> object:
            nonlocal made
            made += 1
            if made == step:
                fault()
            return real[name](*given, **named)

        return call

    try:
        for name in CALLS:
            setattr(os, name, counted(name))
        yield
    finally:
        for name in CALLS:
            setattr(os, name, real[name])


def killed_at(step: int, work: Callable[[], object]) -> bool:
    """Does the work in a process of its own, that ends without another line before its call ``step``.

    False if the work was done before it came to that.
    """
    child = os.fork()
    if child == 0:
        try:
            with at_call(step, lambda: os._exit(KILLED)):
                work()
            os._exit(0)
        finally:
            os._exit(1)
    ended = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert ended in (0, KILLED), "the work failed by itself"
    return ended == KILLED


def no_room() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
