"""Adding on Ray. Its driver is a process of its own: Ray ends a driver that loses its cluster, and takes its signals.

Jobs and outcomes pass through a pipe. The end of the pipe ends the driver, and with it a local cluster, however the
hub ended.
"""

import contextlib
import importlib.util
import itertools
import multiprocessing
import shutil
import tempfile
import threading
from concurrent.futures import BrokenExecutor, Future
from pathlib import Path

import structlog

from hub.aggregation.aggregator import Outcome, SumJob
from hub.aggregation.executor import WorkerDied
from hub.aggregation.ray_driver import STARTED, RayCluster, drive
from hub.config.secret_files import require_private
from hub.errors import SetupRefused

ENDED = "the Ray driver ended"
STOP_WITHIN_S = 20
log = structlog.get_logger()


def require_ray(token: Path | None) -> None:
    """Raises `SetupRefused` where the extra isn't installed, or the token of a cluster is missing or open to others."""
    if importlib.util.find_spec("ray") is None:
        raise SetupRefused("aggregator: Ray isn't installed; run: pip install -c constraints.txt '.[hub,ray]'")
    if token is not None and not token.is_file():
        raise SetupRefused(f"{token}: ray_token names no file")
    if token is not None:
        require_private(token, 0o600)


class RayExecutor:
    """`Executor` over one driver process. It is broken once that process has ended."""

    def __init__(self, cluster: RayCluster) -> None:
        self._cluster = cluster
        self._lock = threading.Lock()
        self._numbers = itertools.count()
        self._waiting: dict[int, Future[Outcome]] = {}
        self._ended = False
        self._folder = Path(tempfile.mkdtemp(prefix="hub-ray-"))  # /tmp, as the paths of Ray's sockets must be short
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        given = (theirs, cluster, self._folder)
        self._process = context.Process(target=drive, args=given, name="ray-driver", daemon=True)
        self._process.start()
        theirs.close()
        self._listener = threading.Thread(target=self._listen, name="ray-outcomes", daemon=True)
        self._listener.start()

    def run(self, job: SumJob) -> "Future[Outcome]":
        future = Future[Outcome]()
        with self._lock:
            if self._ended:
                raise BrokenExecutor(ENDED)
            number = next(self._numbers)
            try:
                self._pipe.send((number, job))
            except OSError:
                raise BrokenExecutor(ENDED) from None
            self._waiting[number] = future
        return future

    def close(self) -> None:
        """What is under way is given up: the next hub adds the same chunks to the same bytes."""
        with self._lock:
            waiting, self._waiting, self._ended = self._waiting, {}, True
            with contextlib.suppress(OSError):  # it has ended before
                self._pipe.send(None)
        for future in waiting.values():
            future.cancel()
        self._listener.join(STOP_WITHIN_S)
        if self._listener.is_alive():
            self._process.kill()
            self._listener.join()

    def _listen(self) -> None:
        """In a thread of its own, until the driver is gone."""
        started = False
        try:
            while True:
                message = self._pipe.recv()
                if message == STARTED:
                    started = True
                else:
                    self._finish(*message)
        except (EOFError, OSError):
            self._process.join()
            shutil.rmtree(self._folder, ignore_errors=True)  # A driver that was killed left it.
            self._break(started)

    def _finish(self, number: int, outcome: Outcome | None) -> None:
        with self._lock:
            future = self._waiting.pop(number, None)
        if future is None:
            return
        if outcome is None:
            future.set_exception(WorkerDied())
        else:
            future.set_result(outcome)

    def _break(self, started: bool) -> None:
        with self._lock:
            stopping, self._ended = self._ended, True
            waiting, self._waiting = self._waiting, {}
            self._pipe.close()
        if not stopping:
            what = ENDED if started else "Ray can't be reached or started; what it said stands above"
            log.error(what, ray_address=self._cluster.address, exit_code=self._process.exitcode)
        for future in waiting.values():
            future.set_exception(BrokenExecutor(ENDED))
