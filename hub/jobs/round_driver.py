"""Keeps rounds going: at once when something arrived, and every half second for what time brings about.

A thread of each replica. It talks with the rest through the database only; what it is woken for and loses in a
crash, the next tick finds again in the rows.
"""

import queue
import threading
import time
from collections.abc import Callable
from functools import partial

import structlog

from hub.services.rounds import Rounds

log = structlog.get_logger()
SWEEP_EVERY_S = 60.0


class RoundDriver:
    """`wake` may be called from any thread."""

    def __init__(self, rounds: Rounds, tick_s: float, keep_sums_s: int) -> None:
        self._rounds = rounds
        self._tick_s = tick_s
        self._keep_sums_s = keep_sums_s
        self._queue: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="round-driver", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def wake(self, study: str) -> None:
        self._queue.put(study)

    def stop(self) -> None:
        self._queue.put(None)
        self._thread.join(timeout=10)

    def _run(self) -> None:
        self._guard("resume", self._resume)
        next_tick = next_sweep = time.monotonic()
        while True:
            now = time.monotonic()
            if now >= next_tick:
                next_tick = now + self._tick_s
                self._guard("tick", self._tick)
            if now >= next_sweep:
                next_sweep = now + SWEEP_EVERY_S
                self._guard("sweep", lambda: self._rounds.sweep(self._keep_sums_s))
            try:
                study = self._queue.get(timeout=max(0.0, next_tick - time.monotonic()))
            except queue.Empty:
                continue
            if study is None:
                return
            self._guard("wake", partial(self._look, study))

    def _resume(self) -> None:
        for study in self._rounds.resume():
            self.wake(study)

    def _look(self, study: str) -> None:
        self._rounds.gather(study)
        self._rounds.clear(study)

    def _tick(self) -> None:
        for study in self._rounds.claim():
            self._guard("round", partial(self._rounds.tick, study))

    def _guard(self, what: str, action: Callable[[], object]) -> None:
        try:
            action()
        except Exception:  # The driver outlives whatever one study does; the next tick tries again.
            log.exception("driver", step=what)
