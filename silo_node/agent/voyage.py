"""How far the chunks of a round are on their way: counted for people, in the log and for ``study show``."""

from collections.abc import Callable
from datetime import datetime
from typing import Final, Literal

import structlog

log = structlog.get_logger()

QUIET_S: Final = 2.0
"""Seconds that lie at least between two log lines of one round; the last line comes in any case."""
TENTHS: Final = 10

Way = Literal["chunks-sent", "chunks-fetched"]


class Voyage:
    """Logs how many of ``total`` chunks went or came: a line each tenth, none within ``QUIET_S``, one at the end."""

    def __init__(self, way: Way, study: str, index: int, total: int, clock: Callable[[], datetime]) -> None:
        self._way, self._place = way, {"study": study[:12], "round": index}
        self._total, self._clock = total, clock
        self._tenth, self._said_at = -1, clock()

    def at(self, done: int) -> None:
        """``done`` chunks are over now."""
        now, tenth = self._clock(), done * TENTHS // self._total
        waited = (now - self._said_at).total_seconds()
        if done == self._total or (tenth > self._tenth and waited >= QUIET_S):
            self._tenth, self._said_at = tenth, now
            log.info(self._way, **self._place, done=done, total=self._total)
