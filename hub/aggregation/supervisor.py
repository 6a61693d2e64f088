"""An aggregator over any executor: no job twice at once, three tries each, and a new executor for a broken one."""

import threading
from collections.abc import Callable
from concurrent.futures import BrokenExecutor, Future

import structlog

from hub.aggregation.aggregator import Done, Failed, Outcome, SumJob
from hub.aggregation.executor import Executor, WorkerDied

MAX_TRIES = 3
log = structlog.get_logger()


class Supervisor:
    """`Aggregator` over the executors that `new` makes, one after the other."""

    def __init__(self, new: Callable[[], Executor]) -> None:
        self._new = new
        self._lock = threading.Lock()
        self._tries: dict[SumJob, int] = {}
        self._executor: Executor | None = None
        self._done: Done = _nobody

    def start(self, done: Done) -> None:
        """Start the processes now, so that the first round doesn't wait for them."""
        self._done = done
        self._executor = self._new()

    def submit(self, job: SumJob) -> None:
        with self._lock:
            if job in self._tries or self._executor is None:
                return
            self._tries[job] = 1
        self._run(job)

    def close(self) -> None:
        with self._lock:
            executor, self._executor = self._executor, None
        if executor is not None:
            executor.close()

    def _run(self, job: SumJob) -> None:
        with self._lock:
            executor = self._executor
            if executor is None:
                return
            try:
                future = executor.run(job)
            except BrokenExecutor:
                executor = self._executor = self._new()
                future = executor.run(job)
        future.add_done_callback(lambda finished: self._finish(job, finished, executor))

    def _finish(self, job: SumJob, future: "Future[Outcome]", executor: Executor) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, WorkerDied | BrokenExecutor) and self._retry(job, error, executor):
            return
        if error is not None:
            log.error("chunk not added", **_about(job), error=type(error).__name__)
        outcome = future.result() if error is None else Failed(type(error).__name__)
        with self._lock:
            del self._tries[job]
        self._done(job, outcome)

    def _retry(self, job: SumJob, error: BaseException, executor: Executor) -> bool:
        """Whether the job needs no answer now: it is tried again, or the hub is stopping."""
        with self._lock:
            if self._executor is None:
                return True
            log.warning("a worker died; another one takes its chunk", **_about(job))
            if isinstance(error, BrokenExecutor) and self._executor is executor:
                self._executor = self._new()
            self._tries[job] += 1
            again = self._tries[job] <= MAX_TRIES
        if again:
            self._run(job)
        return again


def _about(job: SumJob) -> dict[str, str | int]:
    return {"study": job.study, "round": job.round, "chunk": job.position}


def _nobody(job: SumJob, outcome: Outcome) -> None:
    """Until `start` says who wants to know, nothing can be submitted."""
