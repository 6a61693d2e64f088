"""What ``consortia audit watch`` shows: a green or red line at each look, and the entries as they come."""

import json
import sys
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Final

import typer
from rich.text import Text

from client.audit.watch import FRESH, Health, look
from client.commands.options import AsJson, Charter, Hub, Key, open_connection, out, say
from client.errors import HubUntrusted
from client.follow import Record

WATCH_WAIT_S: Final = 25
REPEAT_AFTER: Final = timedelta(minutes=5)
"""A line that says the same as the one before is shown again after this time: so one sees that somebody looks."""


def watch(
    hub: Hub,
    key: Key,
    charter: Charter = None,
    once: Annotated[bool, typer.Option("--once", help="Look once and end, for cron and monitoring")] = False,
    oldest: Annotated[
        int, typer.Option("--max-age", min=1, max=24 * 60, help="Minutes that the log's checkpoint may be old")
    ] = int(FRESH.total_seconds()) // 60,
    as_json: AsJson = False,
) -> None:
    """Follow the log live; ends with exit code 1 as soon as consistency, a signature, a witness or freshness fails."""
    show = show_json if as_json else show_line
    try:
        connection = open_connection(hub, key, charter)
        shown, shown_at, wait_s = None, connection.now(), 0
        while True:
            health, records = look(connection, wait_s, timedelta(minutes=oldest))
            if is_news(health, records, shown, connection.now() - shown_at):
                show(health, records)
                shown, shown_at = health, connection.now()
            if health.reason is not None:
                raise typer.Exit(1)
            if once:
                return
            wait_s = WATCH_WAIT_S
    except HubUntrusted as untrusted:
        show_untrusted(str(untrusted), as_json)
        raise typer.Exit(1) from None


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
