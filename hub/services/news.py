"""Waking those who wait for the log to grow: asyncio in the server, rung from any thread right after a commit."""

import asyncio
import contextlib
from collections import deque

QUIET = frozenset(
    {
        "spend-reserved",
        "spend-settled",
        "round-ready",
        "upload-complete",
        "survivors-signed",
        "shares-revealed",
        "sum-verified",
        "refusal",
    }
)
"""Entries on which no party but the hub acts: they wake nobody by themselves, but travel with the next that does.

Of signatures and reveals the parties act on the one that makes a quorum: `News.turn` says which."""
QUIET_DELAY_S = 0.25
TURNS_KEPT = 1024
"""A turn that is forgotten, or was another replica's, costs its reader one `QUIET_DELAY_S`."""


class News:
    """A generation of waiters: `ticket` before looking, `wait` on it after having found nothing."""

    def __init__(self) -> None:
        self._loop: asyncio.AbstractEventLoop | None = None
        self._event = asyncio.Event()
        self._pending: asyncio.TimerHandle | None = None
        self._stopped = False
        self._waiting = 0
        self._turns: deque[int] = deque(maxlen=TURNS_KEPT)

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return self._waiting

    @property
    def stopped(self) -> bool:
        """Whether the server stops: nobody should wait any more."""
        return self._stopped

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Tell on which loop the waiters run; before that, ringing does nothing."""
        self._loop = loop

    def detach(self) -> None:
        """On the loop: wake everybody for good, for the server stops."""
        self._stopped = True
        self._release()
        self._loop = None

    def ring(self, urgent: bool) -> None:
        """From any thread: wake the waiters, at once or together within a quarter of a second."""
        loop = self._loop
        if loop is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server is stopping
                loop.call_soon_threadsafe(self._release if urgent else self._release_soon)

    def turn(self, index: int) -> None:
        """From any thread, before ringing: the log's entry `index`, of a quiet kind, is one to act on."""
        self._turns.append(index)

    def urgent(self, index: int, kind: str) -> bool:
        """Whether the log's entry `index` is one on which parties act."""
        return kind not in QUIET or index in self._turns.copy()

    def ticket(self) -> asyncio.Event:
        return self._event

    async def wait(self, ticket: asyncio.Event, timeout_s: float) -> None:
        """Until the bell has rung after `ticket` was taken, or the time is over."""
        self._waiting += 1
        try:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(ticket.wait(), timeout_s)
        finally:
            self._waiting -= 1

    def _release(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
            self._pending = None
        self._event.set()
        self._event = asyncio.Event()

    def _release_soon(self) -> None:
        if self._pending is None and self._loop is not None:
            self._pending = self._loop.call_later(QUIET_DELAY_S, self._release)
