"""Forgets used assertions and proofs once they can't be shown again: beside the requests, never in one."""

import threading

import structlog

from hub.services.identity import Identity

log = structlog.get_logger()
SWEEP_EVERY_S = 30.0


class TokenSweeper:
    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="token-sweeper", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while not self._stopped.wait(SWEEP_EVERY_S):
            try:
                self._identity.sweep()
            except Exception:  # What is kept too long costs room, not safety; the next sweep tries again.
                log.exception("tokens not swept")
