"""``consortia admin``: what only the admin's key may do."""

from typing import Annotated

import typer

from client import admin
from client.commands import charter as charter_commands
from client.commands import members
from client.commands.deciding import Judgement, Page, judge
from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    err,
    open_connection,
    print_json,
    print_table,
    say,
)
from client.connection import Connection
from client.studies import statuses
from protocol.study_statements import StudyApproved

app = typer.Typer(no_args_is_help=True, help="Found a consortium, admit silos, add people, approve studies.")
app.add_typer(charter_commands.app, name="charter")
members.add_to(app)


@app.command("studies")
def studies(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """List all studies; those that wait for your signature come first."""
    shown = sorted(statuses(open_connection(hub, key, charter)), key=lambda one: one.state != "proposed")
    if as_json:
        print_json([one.model_dump(mode="json") for one in shown])
        return
    rows = [
        (one.study[:12], one.title, one.lead, one.state, f"{one.rounds_closed}/{one.rounds_total}") for one in shown
    ]
    print_table("Studies", ("study", "title", "lead", "state", "rounds"), rows)


@app.command("approve")
def approve(
    study: str,
    hub: Hub,
    key: Key,
    charter: Charter = None,
    page: Page = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; for scripts")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a study's contract, from its verified statement, and sign its approval here."""
    connection = open_connection(hub, key, charter)
    connection.require_admin()
    whole = connection.log.find_study(study)
    known = admin.own_word(connection, whole)
    if known is not None and isinstance(known[1], StudyApproved):
        return _judged(connection, whole, known[0], as_json)
    return _judge(connection, whole, judge(connection, whole, None, page, yes, as_json), as_json)


@app.command("object")
def object_to(
    study: str,
    hub: Hub,
    key: Key,
    reason: Annotated[str, typer.Option("--reason", help="Why; everybody in the study reads it")],
    charter: Charter = None,
    page: Page = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; for scripts")] = False,
    as_json: AsJson = False,
) -> None:
    """Take back your approval of a study, or say why you give none. Without enough approvals no round is opened."""
    connection = open_connection(hub, key, charter)
    connection.require_admin()
    whole = connection.log.find_study(study)
    _judge(connection, whole, judge(connection, whole, reason, page, yes, as_json), as_json)


def _judge(connection: Connection, study: str, said: Judgement | None, as_json: bool) -> None:
    """Sign and post what was decided."""
    if said is None:
        err.print("not signed")
        raise typer.Exit(1)
    _judged(connection, study, connection.publish(said).index, as_json)


def _judged(connection: Connection, study: str, leaf: int, as_json: bool) -> None:
    approving, needed = admin.approving(connection, study), connection.log.charter.threshold
    if as_json:
        print_json({"study": study, "leaf": leaf, "approved_by": approving, "needed": needed})
    else:
        say(f"your signature is leaf {leaf} of the log; {len(approving)} of the {needed} admins needed approve")


@app.command("silos")
def silos(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """List the members, when the hub last heard of each, and their datasets."""
    shown = admin.silos(open_connection(hub, key, charter))
    if as_json:
        print_json([one.model_dump(mode="json") for one in shown])
        return
    rows = [(one.silo, one.last_seen or "never", ", ".join(one.datasets), one.words) for one in shown]
    print_table("Silos", ("silo", "last seen", "datasets", "words"), rows)


@app.command("budgets")
def budgets(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Show the hub's mirror of every silo's privacy budgets."""
    shown = admin.budgets(open_connection(hub, key, charter))
    if as_json:
        print_json([one.model_dump(mode="json") for one in shown])
        return
    rows = [
        (one.silo, one.domain, one.unit, f"{one.epsilon_spent:.3f}", f"{one.epsilon_cap:g}", f"{one.delta:g}")
        for one in shown
    ]
    print_table("Budgets", ("silo", "domain", "protects", "epsilon spent", "cap", "delta"), rows)
