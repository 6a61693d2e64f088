"""Adding chunks in worker processes: the bytes of uploads are parsed there and nowhere else.

A worker that dies costs its chunk, which is tried again in a new pool; the API doesn't notice.
"""

import hashlib
import multiprocessing
import os
import signal
import threading
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import lru_cache

import structlog

from hub.aggregation.aggregator import Added, BadTerm, Done, Failed, Outcome, SumJob
from hub.errors import NotFound
from hub.store.blobs import BlobPlace, Blobs, open_blobs, sum_name, upload_name
from protocol.sealing.addition import add_chunks, check_upload_chunk
from protocol.sealing.errors import ChunkRefused

MAX_TRIES = 3
log = structlog.get_logger()


class WorkerPool:
    """`Aggregator` over a pool of spawned processes."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        self._lock = threading.Lock()
        self._tries: dict[SumJob, int] = {}
        self._pool: ProcessPoolExecutor | None = None
        self._done: Done = _nobody

    def start(self, done: Done) -> None:
        """Start the processes now, so that the first round doesn't wait for them."""
        self._done = done
        self._pool = self._new_pool()

    def submit(self, job: SumJob) -> None:
        with self._lock:
            if job in self._tries or self._pool is None:
                return
            self._tries[job] = 1
        self._run(job)

    def close(self) -> None:
        with self._lock:
            pool, self._pool = self._pool, None
        if pool is not None:
            pool.shutdown(wait=True, cancel_futures=True)

    def _new_pool(self) -> ProcessPoolExecutor:
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(self._workers, mp_context=context, initializer=_live_with_the_hub)
        for _ in range(self._workers):
            pool.submit(_warm_up)
        return pool

    def _run(self, job: SumJob) -> None:
        with self._lock:
            pool = self._pool
            if pool is None:
                return
            try:
                future = pool.submit(add, job)
            except BrokenProcessPool:
                pool = self._pool = self._new_pool()
                future = pool.submit(add, job)
        future.add_done_callback(lambda finished: self._finish(job, finished, pool))

    def _finish(self, job: SumJob, future: "Future[Outcome]", pool: ProcessPoolExecutor) -> None:
        if future.cancelled():
            return
        error = future.exception()
        if isinstance(error, BrokenProcessPool) and self._retry(job, pool):
            return
        if error is not None:
            log.error(
                "chunk not added", study=job.study, round=job.round, chunk=job.position, error=type(error).__name__
            )
        outcome = future.result() if error is None else Failed(type(error).__name__)
        with self._lock:
            self._tries.pop(job, None)
        self._done(job, outcome)

    def _retry(self, job: SumJob, broken: ProcessPoolExecutor) -> bool:
        with self._lock:
            if self._pool is broken:
                log.warning("a worker died; starting new ones", study=job.study, round=job.round, chunk=job.position)
                self._pool = self._new_pool()
            self._tries[job] = self._tries.get(job, 1) + 1
            again = self._tries[job] <= MAX_TRIES and self._pool is not None
        if again:
            self._run(job)
        return again


def add(job: SumJob) -> Outcome:
    """In a worker: read the terms, add them, store the sum's chunk. The same job gives the same bytes."""
    blobs = _blobs(job.blobs)
    terms = {}
    for silo in job.silos:
        try:
            terms[silo] = blobs.read(upload_name(job.study, job.round, job.attempt, silo, job.position))
        except NotFound:
            return BadTerm(silo, f"chunk {job.position} is not in the store")
    try:
        total = add_chunks([terms[silo] for silo in job.silos], job.layout, job.position)
    except ChunkRefused as refusal:
        return find_bad_term(job, terms, str(refusal))
    name = sum_name(job.study, job.round, job.attempt, job.survivors, job.position)
    if not blobs.create(name, total) and blobs.read(name) != total:
        return Failed("another sum lies in this place")
    return Added(hashlib.sha256(total).hexdigest(), len(total))


def find_bad_term(job: SumJob, terms: dict[str, bytes], reason: str) -> BadTerm:
    """Whose chunk it is: one that is refused alone, else the later of two that hold the same ciphertext."""
    for silo in job.silos:
        try:
            check_upload_chunk(terms[silo], job.layout, job.position)
        except ChunkRefused as refusal:
            return BadTerm(silo, str(refusal))
    seen: list[bytes] = []
    for silo in job.arrived:
        seen.append(terms[silo])
        try:
            if len(seen) > 1:
                add_chunks(seen, job.layout, job.position)
        except ChunkRefused as refusal:
            return BadTerm(silo, str(refusal))
    return BadTerm(job.arrived[-1], reason)


@lru_cache(maxsize=4)
def _blobs(place: BlobPlace) -> Blobs:
    return open_blobs(place)


def _nobody(job: SumJob, outcome: Outcome) -> None:
    """Until `start` says who wants to know, nothing can be submitted."""


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
