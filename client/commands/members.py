"""``consortia admin``: who belongs to the consortium. Each command signs a change of the charter."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from client import admin
from client import charter_changes as changes_of
from client.commands.charter_terms import change
from client.commands.options import AsJson, Charter, Hub, Key, open_connection, print_json, print_table, say
from client.keys import read_card

Role = Literal["admin", "researcher", "officer"]


def add_to(app: typer.Typer) -> None:
    """Make these commands commands of ``app``."""
    app.command("invite")(invite)
    app.command("enrolments")(enrolments)
    app.command("admit")(admit)
    app.command("revoke")(revoke)
    app.command("add-person")(add_person)
    app.command("remove-person")(remove_person)
    app.command("replace-key")(replace_key)
    app.command("set-role")(set_role)


def invite(
    silo: str,
    hub: Hub,
    key: Key,
    charter: Charter = None,
    replace_keys: Annotated[
        bool, typer.Option("--replace-keys", help="For a member that makes new keys: consortia-silo rotate")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Make a one-time code for a silo to join with, good for 24 hours."""
    made = admin.invite(open_connection(hub, key, charter), silo, replace_keys)
    if as_json:
        print_json({"silo": made.silo, "code": made.code, "expires_at": made.expires_at})
    else:
        say(f"{made.code}\ngive this to {made.silo} by a safe way; it works once, until {made.expires_at}")


def enrolments(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """List the silos that wait to be admitted, with the six words of their keys."""
    waiting = admin.applicants(open_connection(hub, key, charter))
    if as_json:
        print_json([{"silo": one.silo, "words": one.words, "received_at": one.received_at} for one in waiting])
        return
    rows = [(one.silo, one.words, one.received_at) for one in waiting]
    print_table("Waiting to be admitted", ("silo", "words", "since"), rows)


def admit(
    silo: str,
    hub: Hub,
    key: Key,
    words: Annotated[str, typer.Option("--words", prompt="The six words that the silo reads to you")],
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Make a silo a member, or give it its new keys, if the words it reads out by telephone are those of its keys."""
    connection = open_connection(hub, key, charter)
    asked = admin.hear(connection, silo, words)
    newer = changes_of.with_silo(connection.log.charter, silo, asked.signing_key, asked.receiving_key, connection.now())
    change(connection, newer, f"{silo} is a member", as_json)


def revoke(silo: str, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Take a silo out: nothing that its key signs counts any more."""
    connection = open_connection(hub, key, charter)
    newer = changes_of.without_silo(connection.log.charter, silo, connection.now())
    change(connection, newer, f"{silo} is no member any more", as_json)


def add_person(
    card: Annotated[Path, typer.Argument(help="The person's public card")],
    hub: Hub,
    key: Key,
    role: Annotated[Role, typer.Option("--role")],
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Enter a person in the charter. Compare the six words of the card by telephone first."""
    connection, person = open_connection(hub, key, charter), read_card(card)
    newer = changes_of.with_person(connection.log.charter, person, role, connection.now())
    change(connection, newer, f"{person.person} has the role {role}", as_json)


def remove_person(person: str, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Take a person out of the charter."""
    connection = open_connection(hub, key, charter)
    newer = changes_of.without_person(connection.log.charter, person, connection.now())
    change(connection, newer, f"{person} is not named any more", as_json)


def replace_key(
    card: Annotated[Path, typer.Argument(help="The new public card of somebody who is named already")],
    hub: Hub,
    key: Key,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Give a person new keys. Of an admin whose key is lost, the other admins do this."""
    connection, person = open_connection(hub, key, charter), read_card(card)
    newer = changes_of.with_new_key(connection.log.charter, person, connection.now())
    change(connection, newer, f"{person.person} has new keys", as_json)


def set_role(
    person: str,
    hub: Hub,
    key: Key,
    role: Annotated[Role, typer.Option("--role")],
    threshold: Annotated[int | None, typer.Option("--threshold", help="How many admins must sign from then on")] = None,
    charter: Charter = None,
    as_json: AsJson = False,
) -> None:
    """Give a person another role."""
    connection = open_connection(hub, key, charter)
    newer = changes_of.with_role(connection.log.charter, person, role, threshold, connection.now())
    change(connection, newer, f"{person} has the role {role}", as_json)
