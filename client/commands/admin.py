"""``consortia admin``: what only the admin's key may do."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from client import admin
from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    err,
    notice,
    open_connection,
    print_contract,
    print_json,
    print_table,
    say,
)
from client.errors import UsageRefused
from client.follow import open_log
from client.keys import read_card, read_identity
from client.pinned import PinnedStore
from client.session import HubSession, open_http
from client.studies import statuses
from protocol.charter import charter_digest
from protocol.statements import StudyApproved

app = typer.Typer(no_args_is_help=True, help="Found a consortium, admit silos, add people, approve studies.")
charter_app = typer.Typer(no_args_is_help=True, help="The charter: who is a member, with which keys.")
app.add_typer(charter_app, name="charter")


@charter_app.command("init")
def init(
    hub: Hub,
    key: Key,
    hub_card: Annotated[Path, typer.Option("--hub-card", help="The card that consortia-hub init printed")],
    consortium: Annotated[str | None, typer.Option("--consortium", help="Its name, if it must be exactly so")] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the founding charter, post it, and show its digest: whoever joins pins that."""
    identity = read_identity(key)
    session = HubSession(open_http(hub), identity)
    now = admin.utc(session.clock())
    card = admin.read_hub_card(hub_card)
    if consortium not in (None, card.consortium):
        raise UsageRefused(f"--consortium {consortium!r}: the hub was made for {card.consortium!r}")
    founding = admin.founding_charter(card, identity, now)
    admin.found(session, founding, identity, now)
    digest = charter_digest(founding)
    open_log(session, PinnedStore(key), digest, notice)
    if as_json:
        print_json({"charter": digest})
    else:
        say(f"founding charter of {card.consortium}: {digest}")
        say("give this digest to everybody by another way than the hub")


@charter_app.command("show")
def show_charter(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Show the charter in force, verified from the pinned one."""
    connection = open_connection(hub, key, charter)
    current = connection.log.charter
    if as_json:
        print_json({"founding": connection.log.chain.founding, "charter": current.model_dump(mode="json")})
        return
    say(f"{current.consortium}, charter version {current.version}, expires {current.expires_at}")
    say(f"founding charter {connection.log.chain.founding}")
    print_table("People", ("person", "role"), [(one.person, one.role) for one in current.people])
    print_table("Members", ("silo",), [(one.silo,) for one in current.members])


@app.command("invite")
def invite(silo: str, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Make a one-time code for a silo to join with, good for 24 hours."""
    made = admin.invite(open_connection(hub, key, charter), silo)
    if as_json:
        print_json({"silo": made.silo, "code": made.code, "expires_at": made.expires_at})
    else:
        say(f"{made.code}\ngive this to {made.silo} by a safe way; it works once, until {made.expires_at}")


@app.command("enrolments")
def enrolments(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """List the silos that wait to be admitted, with the six words of their keys."""
    waiting = admin.applicants(open_connection(hub, key, charter))
    if as_json:
        print_json([{"silo": one.silo, "words": one.words, "received_at": one.received_at} for one in waiting])
        return
    rows = [(one.silo, one.words, one.received_at) for one in waiting]
    print_table("Waiting to be admitted", ("silo", "words", "since"), rows)


@app.command("admit")
def admit(
    silo: str,
    hub: Hub,
    key: Key,
    words: Annotated[str, typer.Option("--words", prompt="The six words that the silo reads to you")],
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Make a silo a member, if the words it reads out by telephone are those of its keys."""
    newer = admin.admit(open_connection(hub, key, charter), silo, words)
    _published(newer.version, charter_digest(newer), f"{silo} is a member", as_json)


@app.command("add-person")
def add_person(
    card: Annotated[Path, typer.Argument(help="The person's public card")],
    hub: Hub,
    key: Key,
    role: Annotated[Literal["researcher", "officer"], typer.Option("--role")],
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Enter a person in the charter."""
    person = read_card(card)
    newer = admin.add_person(open_connection(hub, key, charter), person, role)
    _published(newer.version, charter_digest(newer), f"{person.person} is a {role}", as_json)


def _published(version: int, digest: str, what: str, as_json: bool) -> None:
    if as_json:
        print_json({"version": version, "charter": digest})
    else:
        say(f"{what}; charter version {version} is {digest}")


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
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask; for scripts")] = False,
    as_json: AsJson = False,
) -> None:
    """Show a study's contract, from its verified statement, and sign its approval here."""
    connection = open_connection(hub, key, charter)
    connection.require_admin()
    whole = connection.log.find_study(study)
    contract = connection.log.contract(whole)
    if not as_json:
        print_contract(contract, whole)
    for record, known in connection.log.statements(StudyApproved):
        if known.study == whole and record.entry.issuer == connection.identity.party:
            return _approved(whole, record.index, as_json)
    if not yes and not typer.confirm("Sign the approval of exactly this?"):
        err.print("not signed")
        raise typer.Exit(1)
    return _approved(whole, admin.approve(connection, whole).index, as_json)


def _approved(study: str, leaf: int, as_json: bool) -> None:
    if as_json:
        print_json({"study": study, "leaf": leaf})
    else:
        say(f"approved; your signature is leaf {leaf} of the log")


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
