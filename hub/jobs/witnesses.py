"""Asks the witnesses outside the consortium for their cosignatures, each in a thread of its own.

One that is down, slow or refuses holds up nobody: it is asked again after a pause that doubles, and said once a try.
"""

import threading
import time

import structlog

from hub.services.outside_witnesses import OutsideWitnesses
from hub.services.witness_call import WitnessFailed

log = structlog.get_logger()
LOOK_EVERY_S = 5.0
LONGEST_PAUSE_S = 600.0


class WitnessAsker:
    """`look_every_s`: how soon a new candidate is seen; the first pause after a failure, too."""

    def __init__(self, witnesses: OutsideWitnesses, look_every_s: float = LOOK_EVERY_S) -> None:
        self._witnesses, self._look_every_s = witnesses, look_every_s
        self._stopped = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(name,), name=f"witness {name}", daemon=True)
            for name in witnesses.urls
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stopped.set()
        deadline = time.monotonic() + 10
        for thread in self._threads:
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def _run(self, name: str) -> None:
        failures = 0
        while True:
            failures = 0 if self._asked(name, failures) else failures + 1
            if self._stopped.wait(min(LONGEST_PAUSE_S, self._look_every_s * 2.0 ** min(failures, 16))):
                return

    def _asked(self, name: str, failures: int) -> bool:
        try:
            if self._witnesses.ask(name):
                log.info("witness-cosigned", witness=name)
        except WitnessFailed as problem:
            log.warning("witness-failed", witness=name, problem=str(problem), failures=failures)
            return False
        except Exception:  # The thread outlives whatever goes wrong here; the next try begins anew.
            log.exception("witness-failed", witness=name)
            return False
        return True
