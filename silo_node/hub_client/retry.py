"""Trying again while the hub is away: exponential backoff with full jitter, for calls that are idempotent."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from silo_node.errors import HubUnreachable

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long to go on: ``attempts`` tries, pauses up to ``first_s`` doubling to at most ``longest_s`` seconds.

    ``sleep`` takes seconds; ``uniform`` gives a number in [0, 1). Both are passed in, so tests don't wait.
    """

    attempts: int
    first_s: float
    longest_s: float
    sleep: Callable[[float], object]
    uniform: Callable[[], float]

    def pause_s(self, failures: int) -> float:
        return self.uniform() * min(self.longest_s, self.first_s * 2.0**failures)


def retrying(call: Callable[[], T], backoff: Backoff) -> T:
    """What ``call`` returns, tried again on ``HubUnreachable`` until the backoff's attempts are used up."""
    for failures in range(backoff.attempts - 1):
        try:
            return call()
        except HubUnreachable:
            backoff.sleep(backoff.pause_s(failures))
    return call()
