"""A period as people give it: from a date or time to another, in UTC."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from protocol.errors import Malformed
from protocol.ids import timestamp

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


@dataclass(frozen=True, slots=True)
class Period:
    """``since`` is the first second in it, ``until`` the first second after it (``Timestamp``); None: without end."""

    since: str | None = None
    until: str | None = None

    def __contains__(self, at: str) -> bool:
        return (self.since is None or self.since <= at) and (self.until is None or at < self.until)

    def __str__(self) -> str:
        return f"from {self.since or 'the beginning'} until before {self.until or 'now'}"


ALWAYS = Period()


def parse_period(since: str | None, until: str | None) -> Period:
    """The period from ``since`` to ``until``: dates (2026-03-31) or times (2026-03-31T12:00:00Z), UTC.

    A date as the end belongs to the period whole; a time as the end doesn't belong to it. Raises ``Malformed``.
    """
    period = Period(None if since is None else _begin("from", since), None if until is None else _end(until))
    if period.since is not None and period.until is not None and period.since >= period.until:
        raise Malformed(f"the period from {since} to {until} is empty: its end must come after its beginning")
    return period


def _begin(name: str, text: str) -> str:
    return timestamp(_moment(name, text))


def _end(text: str) -> str:
    moment = _moment("to", text)
    return timestamp(moment + timedelta(days=1) if _DATE.fullmatch(text) else moment)


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text)
        utc = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        utc + timedelta(days=1)  # the day after must exist too
    except (ValueError, OverflowError):
        raise Malformed(
            f"{name}: {text[:40]!r} is no date or time such as 2026-03-31 or 2026-03-31T12:00:00Z"
        ) from None
    if utc.microsecond:
        raise Malformed(f"{name}: {text[:40]!r} has parts of a second; the journal's times are whole seconds")
    return utc
