"""Adding in processes of this machine that belong to the hub. One that dies takes the pool with it."""

import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor

from hub.aggregation.adding import add
from hub.aggregation.aggregator import Outcome, SumJob


class ProcessPool:
    """`Executor` over `workers` spawned processes."""

    def __init__(self, workers: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_live_with_the_hub)
        for _ in range(workers):
            self._pool.submit(_warm_up)

    def run(self, job: SumJob) -> "Future[Outcome]":
        return self._pool.submit(add, job)

    def close(self) -> None:
        """What is under way is finished first: a chunk takes milliseconds."""
        self._pool.shutdown(wait=True, cancel_futures=True)


def _live_with_the_hub() -> None:
    """In a worker, first of all: end when the hub ends, however it ended; Ctrl-C is for the hub to answer."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_after_the_hub, name="hub-watch", daemon=True).start()


def _end_after_the_hub() -> None:
    # A killed hub closes its end of this pipe; the job queue alone would keep a worker waiting for ever.
    hub = multiprocessing.parent_process()
    if hub is not None:
        hub.join()
    os._exit(1)


def _warm_up() -> int:
    return os.getpid()
