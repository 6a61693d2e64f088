"""``consortia admin charter``: its terms, each changed by a new version that the admins sign."""

from pathlib import Path

import typer

from client import charter_changes as changes_of
from client import charter_drafts as drafts
from client.charter_drafts import Outcome
from client.commands.deciding import touch
from client.commands.options import AsJson, Charter, Hub, Key, open_connection, print_json, say
from client.connection import Connection
from protocol import charter as protocol_charter

app = typer.Typer()


@app.command("renew")
def renew(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Let the charter last for two more years."""
    connection = open_connection(hub, key, charter)
    change(connection, changes_of.renewed(connection.log.charter, connection.now()), "renewed", as_json)


@app.command("threshold")
def threshold(number: int, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Set how many admins must sign what the charter decides, studies too."""
    connection = open_connection(hub, key, charter)
    newer = changes_of.with_threshold(connection.log.charter, number, connection.now())
    change(connection, newer, f"threshold {number}", as_json)


@app.command("rotate-hub")
def rotate_hub(hub_card: Path, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Take over the hub's new keys, from the card that consortia-hub rotate printed."""
    connection = open_connection(hub, key, charter)
    card = changes_of.read_hub_card(hub_card)
    change(connection, changes_of.with_hub(connection.log.charter, card, connection.now()), "new hub keys", as_json)


@app.command("add-witness")
def add_witness(verifier: str, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Name an outside witness by its verifier key, NAME+KEYID+BASE64."""
    connection = open_connection(hub, key, charter)
    newer = changes_of.with_witness(connection.log.charter, verifier, connection.now())
    change(connection, newer, f"witness {verifier.split('+')[0]}", as_json)


@app.command("remove-witness")
def remove_witness(name: str, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Name an outside witness no more."""
    connection = open_connection(hub, key, charter)
    newer = changes_of.without_witness(connection.log.charter, name, connection.now())
    change(connection, newer, f"no witness {name}", as_json)


@app.command("tolerate")
def tolerate(liars: int, hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """Set how many of the witnesses may lie before two logs could go unnoticed."""
    connection = open_connection(hub, key, charter)
    newer = changes_of.with_liars(connection.log.charter, liars, connection.now())
    change(connection, newer, f"{liars} liars tolerated", as_json)


def change(connection: Connection, newer: protocol_charter.Charter, what: str, as_json: bool) -> None:
    """Sign a change of the charter in force, and say what became of it."""
    print_outcome(drafts.propose(connection, newer, touch), what, as_json)


def print_outcome(outcome: Outcome, what: str, as_json: bool) -> None:
    version, digest = outcome.draft.charter.version, outcome.draft.digest
    needed = outcome.missing.most
    if as_json:
        print_json({"version": version, "charter": digest, "in_force": outcome.in_force, "missing": needed})
    elif outcome.in_force:
        say(f"{what}; charter version {version} is {digest}" if what else f"charter version {version} is {digest}")
    else:
        say(f"draft {digest}: {needed} more must sign it: consortia admin charter sign {digest[:12]}")
