"""What ``consortia audit watch`` shows: a green or red line at each look, and the entries as they come."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final

from rich.text import Text

from client.audit.watch import Health
from client.commands.options import out, say
from client.follow import Record

WATCH_WAIT_S: Final = 25
REPEAT_AFTER: Final = timedelta(minutes=5)
"""A line that says the same as the one before is shown again after this time: so one sees that somebody looks."""


def is_news(health: Health, records: Sequence[Record], before: Health | None, since: timedelta) -> bool:
    """Whether a look is worth a line; ``since`` is how long ago the last one was shown."""
    same = before is not None and (before.fresh, before.reason) == (health.fresh, health.reason)
    return bool(records) or not same or since >= REPEAT_AFTER


def show_line(health: Health, records: Sequence[Record]) -> None:
    """The entries that came, then the line."""
    for record in records:
        entry = record.entry
        study = f" of study {entry.study[:12]}" if entry.study else ""
        say(f"  leaf {record.index}  {entry.recorded_at}  {entry.kind} by {entry.issuer}{study}")
    if health.reason is None:
        out.print(Text(f"\u25cf {health.line}", style="bold green"), soft_wrap=True)
        return
    out.print(Text(f"\u25cf NOT WELL: {health.reason}", style="bold red"), soft_wrap=True)
    say(f"  {health.line}")


def show_json(health: Health, records: Sequence[Record]) -> None:
    """One JSON object on a line of its own, at each look."""
    value = {
        "well": health.reason is None,
        "reason": health.reason,
        "leaves": health.size,
        "checkpoint_age_s": int(health.age.total_seconds()),
        "witnesses_fresh": list(health.fresh),
        "witnesses": health.witnesses,
        "quorum": health.quorum,
        "entries": [{"leaf": one.index, **one.entry.model_dump(mode="json")} for one in records],
    }
    _print_line(value)


def show_untrusted(reason: str, as_json: bool) -> None:
    """The hub's log does not verify: as loud as can be."""
    if as_json:
        _print_line({"well": False, "reason": reason})
        return
    out.print(Text("\u25cf NOT TRUSTED", style="bold white on red"))
    say(f"  {reason}")


def _print_line(value: Mapping[str, object]) -> None:
    sys.stdout.write(json.dumps(value, sort_keys=True) + "\n")
    sys.stdout.flush()
