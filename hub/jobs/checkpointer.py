"""Signs the log's head again once an hour: a recent time shows that nothing is withheld.

New leaves need no job: their checkpoint is signed in the transaction that appends them.
"""

import threading

import structlog

from hub.services.recorder import Recorder

log = structlog.get_logger()
LOOK_EVERY_S = 30.0


class Checkpointer:
    def __init__(self, recorder: Recorder, age_s: int) -> None:
        self._recorder = recorder
        self._age_s = age_s
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpointer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join(timeout=10)

    def _run(self) -> None:
        while True:
            try:
                self._recorder.refresh(self._age_s)
            except Exception:  # A log that can't be signed is said loudly, and looked at again.
                log.exception("checkpoint not signed")
            if self._stopped.wait(LOOK_EVERY_S):
                return
