"""How the journal is written in a terminal of 80 columns, and as values for scripts."""

import textwrap
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

import typer
from rich.filesize import decimal
from rich.table import Column, Table

from silo_node.agent.places import Inclusion
from silo_node.journal.chain import JournalEntry

WIDTH = 80
UNITS = 9
"""As wide as a size is written: 999.9 MB."""


@dataclass(frozen=True, slots=True)
class Row:
    """An entry with what there is to say of its statement's place in the log; nothing for other kinds."""

    entry: JournalEntry
    inclusion: Inclusion | None
    place: str


def write_table(rows: Iterable[Row], last: int) -> None:
    """Lines on standard output, one entry after the other, however many there are; ``last`` is the newest number."""
    wide, today = max(5, len(str(last))), ""
    heading = ("entry".rjust(wide), "time".ljust(8), "to ", "study".ljust(8), "size".rjust(UNITS), "sha-256", " what")
    typer.secho(" ".join(heading), bold=True)
    for row in rows:
        day, _, time = row.entry.event.at.rstrip("Z").partition("T")
        if day != today:
            typer.secho(f"{day} UTC", bold=True)
            today = day
        _write_row(row, wide, time)


def _write_row(row: Row, wide: int, time: str) -> None:
    event = row.entry.event
    size = decimal(event.size).replace("bytes", "B") if event.digest else "-"
    to = "hub" if event.to == "hub" else "-  "
    cells = (str(row.entry.index).rjust(wide), time, to, (event.study or "-")[:8].ljust(8), size.rjust(UNITS))
    start = " ".join((*cells, (event.digest or "-")[:8].ljust(8), ""))
    words = event.what if event.digest else f"{event.kind}: {event.what}"
    for number, line in enumerate(textwrap.wrap(words, max(20, WIDTH - len(start)))):
        typer.echo((" " * len(start) if number else start) + line)
    if row.place:
        typer.secho(" " * wide + " " + row.place, fg="yellow" if row.inclusion is None else "green")


class Totals:
    """How many entries there were of each kind in each study, and how many bytes they were."""

    def __init__(self) -> None:
        self._entries: Counter[tuple[str, str]] = Counter()
        self._bytes: Counter[tuple[str, str]] = Counter()

    def counted(self, row: Row) -> Row:
        """The same row, once it is counted."""
        event = row.entry.event
        key = (event.study or "", event.kind)
        self._entries[key] += 1
        self._bytes[key] += event.size
        return row

    def table(self) -> Table:
        numbers = (Column("entries", justify="right"), Column("size", justify="right"))
        table = Table("study", "kind", *numbers, title="In all", title_justify="left")
        for (study, kind), count in sorted(self._entries.items()):
            table.add_row(study[:12] or "none", kind, f"{count:,}", decimal(self._bytes[study, kind]))
        return table

    def values(self) -> list[dict[str, object]]:
        return [
            {"study": study or None, "kind": kind, "entries": count, "bytes": self._bytes[study, kind]}
            for (study, kind), count in sorted(self._entries.items())
        ]


def values_of(row: Row) -> dict[str, object]:
    """An entry for scripts; ``log`` is None for what is no statement, or is not in the log as ``place`` says."""
    log = None if row.inclusion is None else asdict(row.inclusion)
    event = row.entry.event.model_dump(mode="json")
    return {"entry": row.entry.index, "hash": row.entry.hash, **event, "log": log, "place": row.place or None}
