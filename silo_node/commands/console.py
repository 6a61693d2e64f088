"""``consortia-silo console``: the owner's pages, on this machine."""

from pathlib import Path
from typing import Annotated

import typer

from silo_node.app import now, open_silo
from silo_node.commands.options import Folder, out

app = typer.Typer()


@app.command()
def console(
    port: Annotated[int, typer.Option(min=1024, max=65535, help="The port on this machine.")] = 8471,
    folder: Folder = Path("silo"),
) -> None:
    """Serve the owner's pages on this machine: requests, datasets, ledger, journal. Stops on Ctrl-C.

    The node may run beside it, and has to for an answer to be acted on. Enter says a new link.
    """
    # A server and templates: too slow to load for every command.
    from pages.loopback import bind_loopback
    from silo_node.agent.reading import Reading
    from silo_node.console.desk import Desk
    from silo_node.console.journal_check import JournalCheck
    from silo_node.console.ledger_view import LedgerReading
    from silo_node.console.serving import serve_console
    from silo_node.console.sessions import Sessions
    from silo_node.console.visit import Site

    with open_silo(folder) as (silo, config):
        loopback = bind_loopback("localhost", port)
        try:
            reading = Reading(silo.tasks, silo.identity.party)
            reading.studies()
            desk = Desk(silo, config, folder, reading, LedgerReading(silo.ledger), JournalCheck(silo))
            serve_console(Site(desk, Sessions(now), loopback.host), loopback, _say)
        finally:
            loopback.close()


def _say(link: str) -> None:
    out.print("Open this within 5 minutes; it works once. Enter: another link. Ctrl-C: stop.", highlight=False)
    out.print(link, markup=False, highlight=False, soft_wrap=True)
