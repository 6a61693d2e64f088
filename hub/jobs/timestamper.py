"""Has what a quorum cosigned timestamped by the authority in the settings, if there is one."""

import threading

import structlog

from hub.services.timestamps import TimestampFailed, Timestamps

log = structlog.get_logger()
LOOK_EVERY_S = 10.0
LONGEST_PAUSE_S = 600.0


class Timestamper:
    def __init__(self, timestamps: Timestamps, look_every_s: float = LOOK_EVERY_S) -> None:
        self._timestamps, self._look_every_s = timestamps, look_every_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="timestamper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        failures = 0
        while True:
            failures = 0 if self._stamped(failures) else failures + 1
            if self._stopped.wait(min(LONGEST_PAUSE_S, self._look_every_s * 2.0 ** min(failures, 16))):
                return

    def _stamped(self, failures: int) -> bool:
        try:
            if self._timestamps.stamp():
                log.info("checkpoint-timestamped")
        except TimestampFailed as problem:
            log.warning("timestamp-failed", problem=str(problem), failures=failures)
            return False
        except Exception:  # The thread outlives whatever goes wrong here; the next try begins anew.
            log.exception("timestamp-failed")
            return False
        return True
