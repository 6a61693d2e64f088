"""``consortia-silo journal``: what left this silo."""

from pathlib import Path

import typer
from rich.markup import escape
from rich.table import Column, Table

from silo_node.commands.options import Folder, out
from silo_node.journal.chain import Journal

app = typer.Typer(no_args_is_help=True, help="What left this silo.")


_DIGESTS = (Column("study", no_wrap=True), Column("bytes", justify="right"), Column("digest", no_wrap=True))


@app.command("show")
def show(folder: Folder = Path("silo")) -> None:
    """What left this silo: when, what, to whom, in which study. The chain is checked on the way."""
    table = Table(
        Column("entry"),
        Column("at", no_wrap=True),
        Column("what"),
        Column("to"),
        *_DIGESTS,
        box=None,
        pad_edge=False,
        padding=(0, 1),
    )
    journal = Journal(folder / "journal.sqlite")
    for entry in journal.entries():
        event = entry.event
        what = event.what if event.kind == "statement" else f"{event.kind}: {event.what}"
        cells = (str(entry.index), event.at, escape(what), event.to, (event.study or "")[:8])
        table.add_row(*cells, str(event.size), (event.digest or "")[:8])
    journal.close()
    out.print(table)
