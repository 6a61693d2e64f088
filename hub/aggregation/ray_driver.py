"""The process that speaks with Ray: it takes jobs from the hub's pipe, hands each to a worker, and sends outcomes back.

Only this process imports Ray. It tries nothing again: the hub counts tries, in the same way for every executor.
"""

import contextlib
import logging
import os
import queue
import secrets
import shutil
import threading
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from hub.aggregation.adding import add
from hub.aggregation.aggregator import Failed, Outcome, SumJob
from hub.config.settings import is_loopback

LOCAL = "local"
STARTED = "started"
OBJECT_STORE_BYTES = 80 * 1024 * 1024
"""About the least that Ray takes. Nothing of ours lies there: jobs and outcomes are small, chunks stay in the blobs."""
Numbered = tuple[int, SumJob]


@dataclass(frozen=True, slots=True)
class RayCluster:
    """HOST:PORT of a running cluster with the path of its token, or "local": one of `workers` processes, ours alone."""

    address: str
    workers: int
    token: Path | None = None


def drive(pipe: Connection, cluster: RayCluster, folder: Path) -> None:
    """Until the pipe ends or Ray does. A local cluster ends with this process, and `folder`, where it writes, too."""
    os.setsid()  # Signals to the hub's group are for the hub to answer; the end of the pipe is for this process.
    jobs: queue.SimpleQueue[Numbered | None] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(pipe, jobs), name="jobs", daemon=True).start()
    with _running(cluster, folder) as ray:
        reporter = _Reporter(ray, pipe, jobs)
        run = ray.remote(num_cpus=1, max_retries=0)(add)
        pipe.send(STARTED)
        while (next_job := jobs.get()) is not None:
            number, job = next_job
            run.remote(job).future().add_done_callback(partial(reporter.report, number))


def _read(pipe: Connection, jobs: "queue.SimpleQueue[Numbered | None]") -> None:
    """In a thread of its own, so that the hub never waits for a Ray that is still starting."""
    try:
        while (next_job := pipe.recv()) is not None:
            jobs.put(next_job)
    except (EOFError, OSError):
        pass  # The hub was killed.
    jobs.put(None)


@contextlib.contextmanager
def _running(cluster: RayCluster, folder: Path) -> Iterator[Any]:
    """Ray, connected to the cluster."""
    os.environ.update(_environment(cluster))
    import ray  # Not before the environment is set: Ray reads it once.

    try:
        options = _start_options(cluster, folder)
        ray.init(cluster.address, log_to_driver=False, logging_level=logging.WARNING, **options)
        yield ray
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


def _start_options(cluster: RayCluster, folder: Path) -> dict[str, Any]:
    if cluster.address != LOCAL:
        return {}
    sizes = {"num_cpus": cluster.workers, "num_gpus": 0, "object_store_memory": OBJECT_STORE_BYTES}
    # Ray opens its own folder to all users of the machine, so it lies inside one that is closed to them.
    return {**sizes, "include_dashboard": False, "_temp_dir": str(folder / "r")}


def _environment(cluster: RayCluster) -> dict[str, str]:
    """Nobody is told that Ray runs here, and who has no token gets no answer."""
    given = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "token"}
    if cluster.address == LOCAL or is_loopback(cluster.address.rpartition(":")[0]):
        # So Ray binds and looks for loopback only. The switch is named after the systems where that is the default.
        given["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"
    if cluster.address == LOCAL:
        return {**given, "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ.pop("RAY_AUTH_TOKEN", None)  # It would win over the file that the settings name.
    return {**given, "RAY_AUTH_TOKEN_PATH": str(cluster.token)}


class _Reporter:
    """Sends outcomes from Ray's threads. A worker that died is None; a lost cluster ends the driver."""

    def __init__(self, ray: Any, pipe: Connection, jobs: "queue.SimpleQueue[Numbered | None]") -> None:
        self._errors = ray.exceptions
        self._pipe = pipe
        self._jobs = jobs
        self._lock = threading.Lock()

    def report(self, number: int, future: "Future[Outcome]") -> None:
        error = future.exception()
        if isinstance(error, self._errors.LocalRayletDiedError):
            self._jobs.put(None)
            return
        outcome: Outcome | None = None
        if error is None:
            outcome = future.result()
        elif isinstance(error, self._errors.RayTaskError):
            outcome = Failed(type(error.cause).__name__)
        with self._lock, contextlib.suppress(OSError):  # the hub may be gone
            self._pipe.send((number, outcome))
