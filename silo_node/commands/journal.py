"""``consortia-silo journal``: what left this silo, whether that record is whole, and the file to show it to others."""

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, BinaryIO

import typer

from protocol.ids import silo_party, timestamp
from protocol.journal import JournalEvent, Kind
from protocol.journal_export import FORMAT, Header, write_entry, write_header
from protocol.period import Period, parse_period
from silo_node.agent.places import Places
from silo_node.agent.review import Reviewed, review
from silo_node.agent.tasks import Tasks
from silo_node.app import now, open_journal
from silo_node.commands.journal_table import Row, Totals, values_of, write_table
from silo_node.commands.options import AsJson, Folder, out, print_json
from silo_node.config import SiloConfig
from silo_node.errors import ConfigRefused
from silo_node.journal.chain import JournalEntry, Stored
from silo_node.private_files import writing_private

app = typer.Typer(no_args_is_help=True, help="What left this silo: show it, check it, take it to another person.")

From = Annotated[str | None, typer.Option("--from", help="Date or time (UTC) where to begin, itself included.")]
To = Annotated[
    str | None, typer.Option("--to", help="Where to end (UTC): a date is included whole, a time is not included.")
]
Study = Annotated[str | None, typer.Option(help="Only entries of the study whose id begins so.")]
OfKind = Annotated[Kind | None, typer.Option("--kind", help="Only entries of this kind.")]


@app.command("show")
def show(
    since: From = None,
    to: To = None,
    study: Study = None,
    kind: OfKind = None,
    folder: Folder = Path("silo"),
    as_json: AsJson = False,
) -> None:
    """What left this silo: when, what, to whom, in which study, and where it stands in the hub's log.

    The journal is checked first, from its first entry on, as by: journal verify.
    """
    period = parse_period(since, to)
    with open_journal(folder) as (config, journal, tasks):
        reviewed = review(journal, tasks, silo_party(config.silo), period)
        places, totals = Places(tasks, silo_party(config.silo), reviewed), Totals()
        wanted = (
            entry
            for entry in journal.entries(reviewed.first, reviewed.last)
            if entry.event.at in period and _wanted(entry.event, study, kind)
        )
        rows = (totals.counted(_row(entry, places)) for entry in wanted)
        if as_json:
            print_json({"entries": [*map(values_of, rows)], "totals": totals.values(), **_verified(reviewed, tasks)})
            return
        write_table(rows, reviewed.last)
        out.print(totals.table())
        _say(f"head after entry {reviewed.last}: {reviewed.head_then}")
        _say(_one_line(reviewed, tasks))


@app.command("verify")
def verify(folder: Folder = Path("silo"), as_json: AsJson = False) -> None:
    """Check the journal: its chain, this silo's own statements, and those of them in the hub's log."""
    with open_journal(folder) as (config, journal, tasks):
        reviewed = review(journal, tasks, silo_party(config.silo))
        if as_json:
            print_json(_verified(reviewed, tasks))
        else:
            _say(_one_line(reviewed, tasks))


@app.command("export")
def export(
    to_file: Annotated[Path, typer.Option("--out", help="File to write, for: consortia audit journal")],
    since: From = None,
    to: To = None,
    folder: Folder = Path("silo"),
) -> None:
    """Write the journal, or a period of it, to a file that another person can check against the hub's log."""
    period, at = parse_period(since, to), timestamp(now())
    period = Period(period.since, min(at, period.until or at))
    if period.since is not None and at <= period.since:
        raise ConfigRefused(f"--from {since}: nothing has left since then, it is {at}")
    with open_journal(folder) as (config, journal, tasks):
        reviewed = review(journal, tasks, silo_party(config.silo), period)
        # One more at each end shows that nothing was cut off there.
        first, last = max(1, reviewed.first - 1), min(reviewed.entries, reviewed.last + 1)
        entries = journal.stored(first, last if to else reviewed.entries)
        with writing_private(to_file) as file:
            written = _write(file, config, period, first, entries)
    _say(f"{to_file}: {written} entries from number {first} on; the period {period}")
    _say(f"check it with: consortia audit journal {to_file} --log EXPORT --charter {config.charter}")


def _write(file: BinaryIO, config: SiloConfig, period: Period, first: int, entries: Iterator[Stored]) -> int:
    """How many entries were written."""
    written, opening = 0, {"silo": config.silo, "charter": config.charter, "first": first, "format": FORMAT}
    for one in entries:
        if not written:
            value = {**opening, "since": period.since, "until": period.until, "before": one.before}
            file.write(write_header(Header.model_validate(value)))
        file.write(write_entry(one.index, one.hash, one.event))
        written += 1
    if not written:
        raise ConfigRefused("the journal is empty: nothing has left this silo yet")
    return written


def _wanted(event: JournalEvent, study: str | None, kind: Kind | None) -> bool:
    return (study is None or (event.study or "").startswith(study)) and kind in (None, event.kind)


def _row(entry: JournalEntry, places: Places) -> Row:
    if entry.event.kind != "statement":
        return Row(entry, None, "")
    inclusion = places.inclusion(entry.event)
    return Row(entry, inclusion, str(inclusion or places.absence(entry.index, entry.event)))


def _one_line(reviewed: Reviewed, tasks: Tasks) -> str:
    follower = tasks.follower()
    read = "the log was not read yet"
    if follower is not None:
        view = follower.view
        read = f"log read to {follower.next} of {view.size} leaves, root {view.root.hex()[:16]}"
    return (
        f"journal whole: {reviewed.entries} entries chained from the first, head {reviewed.head[:16]}; {reviewed.kept} "
        f"statements that this silo kept and {reviewed.logged} that the log holds stand at their places; {read}"
    )


def _verified(reviewed: Reviewed, tasks: Tasks) -> dict[str, object]:
    follower = tasks.follower()
    return {
        "verified": True,
        "journal": {
            "entries": reviewed.entries,
            "head": reviewed.head,
            "head_at_end_of_period": reviewed.head_then,
            "statements_kept": reviewed.kept,
            "statements_in_log": reviewed.logged,
            "fixed_by_the_log_through": reviewed.logged_through,
        },
        "log": None if follower is None else {"read_to": follower.next, "root": follower.view.root.hex()},
    }


def _say(text: str) -> None:
    out.print(text, markup=False, highlight=False, soft_wrap=True)
