"""Deletes what was released and is over its time: beside the requests, never in one."""

import threading

import structlog

from hub.services.retention import Retention

log = structlog.get_logger()
SWEEP_EVERY_S = 3600.0


class RetentionSweeper:
    def __init__(self, retention: Retention, every_s: float = SWEEP_EVERY_S) -> None:
        self._retention, self._every_s = retention, every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention-sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            try:
                deleted = self._retention.sweep()
                if deleted:
                    log.info("released files deleted", count=deleted)
            except Exception:  # What is kept too long is ciphertext; the next sweep tries again.
                log.exception("released files not swept")
            if self._stopped.wait(self._every_s):
                return
