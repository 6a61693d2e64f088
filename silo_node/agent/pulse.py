"""The node's pulse: a small file that tells when it last verified the hub's log, and what it did then.

A node that trains does not poll meanwhile, for hours if need be. So the file tells two states apart: between a poll
and the end of the work it brought, and waiting for the next poll.
"""

import json
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from pydantic import ValidationError

from protocol.ids import Strict, Timestamp, moment, timestamp
from silo_node.config import SiloConfig
from silo_node.errors import Unhealthy

FILE: Final = "pulse.json"
LATE_S: Final = 60
"""How much longer than its limits a healthy node may take: the pauses between tries, a busy machine."""


class Beat(Strict):
    """``polled_at``: the last poll whose answer was verified. ``at_work``: what it brought isn't done yet."""

    polled_at: Timestamp
    at_work: bool


class Pulse:
    """Writes the file in ``folder``, whole or not at all; a lost beat costs nothing, so it isn't synced."""

    def __init__(self, folder: Path, clock: Callable[[], datetime]) -> None:
        self._path, self._clock = folder / FILE, clock
        self._polled_at = ""
        self.close()  # What an earlier run left says nothing of this one.

    def beat(self, at_work: bool) -> None:
        """Called with True after each verified poll, and with False once all that it brought is done."""
        if at_work or not self._polled_at:
            self._polled_at = timestamp(self._clock())
        content = Beat(polled_at=self._polled_at, at_work=at_work).model_dump()
        part = self._path.with_name(FILE + ".part")
        part.touch(mode=0o600)
        part.write_text(json.dumps(content))
        part.replace(self._path)

    def close(self) -> None:
        """A node that ends well leaves no pulse behind."""
        self._path.unlink(missing_ok=True)


def check_pulse(folder: Path, config: SiloConfig, now: datetime) -> str:
    """Where a healthy node stands, in a sentence. Raises ``Unhealthy`` with what is the matter."""
    try:
        beat = Beat.model_validate_json((folder / FILE).read_bytes())
    except FileNotFoundError:
        raise Unhealthy(
            "no poll was verified since the node started: it does not run, is not admitted yet, or the hub is away"
        ) from None
    except ValidationError:
        raise Unhealthy(f"{folder / FILE} is damaged; the running node writes it anew") from None
    age_s = (now - moment(beat.polled_at)) // timedelta(seconds=1)
    # At work: training may take its limit, and sending what it made as long again.
    limit_s = LATE_S + (2 * config.training_limit_s if beat.at_work else config.poll_wait_s + config.request_timeout_s)
    doing = "at work since" if beat.at_work else "the hub's log was last verified"
    if not -LATE_S <= age_s <= limit_s:
        raise Unhealthy(f"{doing} {beat.polled_at}, {age_s} s ago; {limit_s} s are the most (see the node's messages)")
    return f"{doing} {beat.polled_at}, {age_s} s ago"
