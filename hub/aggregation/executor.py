"""What runs jobs in other processes, as its supervisor sees it."""

from concurrent.futures import Future
from typing import Protocol

from hub.aggregation.aggregator import Outcome, SumJob


class WorkerDied(Exception):
    """The process that worked on a job is gone, and the executor has another one for the next."""


class Executor(Protocol):
    """Runs `adding.add` in other processes, several at once.

    A future raises `WorkerDied` when its worker died, `BrokenExecutor` when the executor is of no use any more.
    """

    def run(self, job: SumJob) -> "Future[Outcome]":
        """Returns at once. Raises `BrokenExecutor`."""

    def close(self) -> None:
        """End its processes and wait until they are gone; futures that aren't done are cancelled."""
