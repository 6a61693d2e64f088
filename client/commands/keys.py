"""``consortia keys``: make a person's keys, show a public card."""

from pathlib import Path
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from client.commands.options import AsJson, Browser, print_json, say, show_link
from client.errors import NotDecided, UsageRefused
from client.keys import add_decision_key, card_path, decision_key_wanted, new_identity, read_card, write_identity
from protocol.ids import PersonId

app = typer.Typer(no_args_is_help=True, help="Your keys: made here, never sent anywhere.")


@app.command("new")
def new(
    name: Annotated[str, typer.Argument(help="Your name in the consortium, e.g. ada")],
    out: Annotated[Path, typer.Option("--out", help="Key file to write; the public card goes beside it")],
    as_json: AsJson = False,
) -> None:
    """Make a key file (0600) and a public card for the admin."""
    try:
        TypeAdapter(PersonId).validate_python(name)
    except ValidationError:
        raise UsageRefused(f"name {name!r}: 2 to 32 lower-case letters, digits and dashes, a letter first") from None
    identity = new_identity(name)
    card = write_identity(identity, out)
    if as_json:
        print_json({"key": str(out), "card": str(card), "words": identity.card.words})
        return
    say(f"key file {out} (keep it private, back it up)\npublic card {card} (give it to the admin)")
    say(f"words to compare by telephone: {identity.card.words}")


@app.command("add-fido")
def add_fido(
    key: Annotated[Path, typer.Argument(help="Your key file; the public card beside it is written, the file not read")],
    replace: Annotated[bool, typer.Option("--replace", help="Put it in place of the one that the card has")] = False,
    browser: Browser = True,
    as_json: AsJson = False,
) -> None:
    """Register a FIDO2 security key, on a page of this machine, for each of your decisions to need its touch."""
    from client.decision_page.local_page import Setting, open_in_browser  # a server: too slow for every command
    from client.decision_page.registering import register_on_page

    card = card_path(key)
    person = decision_key_wanted(card, replace=replace).person
    made = register_on_page(person, Setting(show_link, open_in_browser if browser else None))
    if made is None:
        raise NotDecided("nothing was registered: the page was closed")
    newer = add_decision_key(card, made, replace=replace)
    if as_json:
        print_json({"card": str(card), "person": newer.person, "words": newer.words})
        return
    say(f"public card {card} holds your security key (give it to the admin, who enters it in the charter)")
    say(f"words to compare by telephone: {newer.words}")


@app.command("show")
def show(
    card: Annotated[Path, typer.Argument(help="A public card, e.g. me.card.json")], as_json: AsJson = False
) -> None:
    """Show who a public card names, and its six words."""
    read = read_card(card)
    if as_json:
        print_json({"person": read.person, "words": read.words, "security_key": read.decision_key is not None})
    else:
        held = "" if read.decision_key is None else " (with a security key)"
        say(f"{read.person}: {read.words}{held}")
