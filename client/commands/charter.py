"""``consortia admin charter``: found a consortium, see its charter, change it together with the other admins."""

from pathlib import Path
from typing import Annotated

import typer

from client import charter_changes as changes_of
from client import charter_drafts as drafts
from client.charter_drafts import Draft, Outcome
from client.commands import charter_terms
from client.commands.charter_terms import print_outcome
from client.commands.deciding import touch
from client.commands.options import (
    AsJson,
    Charter,
    Hub,
    Key,
    err,
    notice,
    open_connection,
    print_json,
    print_sections,
    print_table,
    say,
)
from client.connection import Connection, utc
from client.errors import UsageRefused
from client.follow import open_log
from client.keys import own_card, read_card, read_identity
from client.pinned import PinnedStore
from client.session import HubSession, open_http
from pages.charter import changes, charter_in_words
from pages.fingerprint import fingerprint_lines, qr_code
from protocol.charter import charter_digest, charter_words

app = typer.Typer(no_args_is_help=True, help="The charter: who is a member, who decides, with which keys.")
app.add_typer(charter_terms.app)

Yes = Annotated[bool, typer.Option("--yes", help="Don't ask; for scripts")]
DraftFile = Annotated[Path, typer.Argument(help="A draft, from charter init or charter save")]


@app.command("init")
def init(
    hub: Hub,
    key: Key,
    hub_card: Annotated[Path, typer.Option("--hub-card", help="The card that consortia-hub init printed")],
    consortium: Annotated[str | None, typer.Option("--consortium", help="Its name, if it must be exactly so")] = None,
    admin: Annotated[list[Path] | None, typer.Option("--admin", help="Card of a further admin; repeat")] = None,
    threshold: Annotated[
        int, typer.Option("--threshold", help="How many admins must sign what the charter decides")
    ] = 1,
    to: Annotated[Path | None, typer.Option("--out", help="Where the other admins' draft goes")] = None,
    as_json: AsJson = False,
) -> None:
    """Sign the founding charter. With a threshold of 1 it is posted; else the other admins sign its file first."""
    identity = read_identity(key)
    session = HubSession(open_http(hub), identity)
    card = changes_of.read_hub_card(hub_card)
    if consortium not in (None, card.consortium):
        raise UsageRefused(f"--consortium {consortium!r}: the hub was made for {card.consortium!r}")
    cards = [own_card(identity, key), *(read_card(path) for path in admin or [])]
    founding = changes_of.founding_charter(card, cards, threshold, utc(session.clock()))
    draft = drafts.unsigned(founding)
    draft = draft.with_signatures([drafts.sign(draft, None, identity, touch)])
    if drafts.missing(draft, None).none:
        _found(session, key, draft, as_json)
        return
    if to is None:
        raise UsageRefused(f"--threshold {threshold}: give --out FILE, which the other admins sign before it is posted")
    drafts.write_draft(draft, to)
    _show_file(draft, to, as_json)


@app.command("sign-file")
def sign_file(
    file: DraftFile,
    key: Key,
    against: Annotated[
        Path | None, typer.Option("--against", help="The draft of the version in force before it")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Sign a draft in a file, without a hub: a founding charter, or one that makes you an admin."""
    identity, draft = read_identity(key), drafts.read_draft(file)
    older = None if against is None else drafts.read_draft(against).charter
    if not as_json:
        print_sections(charter_in_words(draft.charter))
    if not yes and not typer.confirm("Sign exactly this charter?"):
        err.print("not signed")
        raise typer.Exit(1)
    signed = draft.with_signatures([drafts.sign(draft, older, identity, touch)])
    drafts.write_draft(signed, file)
    _show_file(signed, file, as_json)


@app.command("found")
def found(file: DraftFile, hub: Hub, key: Key, as_json: AsJson = False) -> None:
    """Post a founding charter that enough admins signed, and show its digest: whoever joins pins that."""
    _found(HubSession(open_http(hub), read_identity(key)), key, drafts.read_draft(file), as_json)


@app.command("show")
def show(
    hub: Hub,
    key: Key,
    charter: Charter = None,
    qr: Annotated[bool, typer.Option("--qr", help="Show the founding charter's digest as a QR code too")] = False,
    as_json: AsJson = False,
) -> None:
    """Show the charter in force, verified from the pinned one."""
    connection = open_connection(hub, key, charter)
    current, founding = connection.log.charter, connection.log.chain.founding
    if as_json:
        print_json({"founding": founding, "charter": current.model_dump(mode="json")})
        return
    print_sections(charter_in_words(current))
    show_fingerprint(founding, qr)


@app.command("pending")
def pending(hub: Hub, key: Key, charter: Charter = None, as_json: AsJson = False) -> None:
    """List the drafts that wait for signatures, with what each would change."""
    connection = open_connection(hub, key, charter)
    waiting = drafts.pending(connection)
    if as_json:
        print_json([_as_value(connection, one) for one in waiting])
        return
    rows = [
        (
            one.draft.digest[:12],
            "\n".join(changes(connection.log.charter, one.draft.charter)),
            ", ".join(signature.signer for signature in one.draft.signatures),
            str(one.missing.most),
        )
        for one in waiting
    ]
    print_table("Drafts of the next charter", ("draft", "changes", "signed by", "missing"), rows)


@app.command("sign")
def sign(
    draft: Annotated[str, typer.Argument(help="Its digest, or the first 8 characters or more")],
    hub: Hub,
    key: Key,
    charter: Charter = None,
    file: Annotated[
        Path | None, typer.Option("--with", help="A file with signatures of admins who are not in force yet")
    ] = None,
    yes: Yes = False,
    as_json: AsJson = False,
) -> None:
    """Show what a draft changes, and sign it; with the last signature that it needs it is in force."""
    connection = open_connection(hub, key, charter)
    connection.require_admin()
    found_ = drafts.find(connection, draft)
    drafts.check_members(connection, found_.charter)
    if not as_json:
        _print_changes(connection, found_)
    if not yes and not typer.confirm("Sign exactly this?"):
        err.print("not signed")
        raise typer.Exit(1)
    signatures = [] if file is None else list(drafts.read_draft(file).signatures)
    signatures.append(drafts.sign(found_, connection.log.charter, connection.identity, touch))
    print_outcome(drafts.add_signatures(connection, found_, signatures), "", as_json)


@app.command("save")
def save(
    draft: Annotated[str, typer.Argument(help="Its digest, or the first 8 characters or more")],
    hub: Hub,
    key: Key,
    to: Annotated[Path, typer.Option("--out", help="File to write")],
    charter: Charter = None,
) -> None:
    """Write a pending draft to a file, for an admin to be who signs it with: consortia admin charter sign-file."""
    found_ = drafts.find(open_connection(hub, key, charter), draft)
    drafts.write_draft(found_, to)
    say(f"{to}: draft {found_.digest}, signed by {', '.join(one.signer for one in found_.signatures)}")


def show_fingerprint(digest: str, qr: bool) -> None:
    """A founding charter's digest in the forms that people compare."""
    for line in fingerprint_lines(digest):
        say(line)
    if qr:
        say(qr_code(digest))


def _found(session: HubSession, key: Path, draft: Draft, as_json: bool) -> None:
    identity = session.identity or read_identity(key)
    drafts.found(session, draft, identity, utc(session.clock()))
    open_log(session, PinnedStore(key), draft.digest, notice)
    if as_json:
        print_json({"charter": draft.digest})
        return
    show_fingerprint(draft.digest, True)
    say("give this digest to everybody by another way than the hub")


def _show_file(draft: Draft, file: Path, as_json: bool) -> None:
    signed = [one.signer for one in draft.signatures]
    if as_json:
        print_json({"charter": charter_digest(draft.charter), "file": str(file), "signed_by": signed})
        return
    say(f"{file}: charter {draft.digest}, signed by {', '.join(signed)}")
    say(f"in words: {charter_words(draft.digest)}")
    needed = f"{draft.charter.threshold} of {len(draft.charter.admins)}"
    say(f"{needed} must sign it: consortia admin charter sign-file {file}")


def _print_changes(connection: Connection, draft: Draft) -> None:
    lines = changes(connection.log.charter, draft.charter)
    needed = drafts.missing(draft, connection.log.charter)
    say(f"Draft of charter version {draft.charter.version}\n  digest: {draft.digest}")
    for line in lines:
        say(f"  - {line}")
    say(f"signed by {', '.join(one.signer for one in draft.signatures)}; {needed.most} more must sign")
    if any("key words" in line for line in lines):
        say("compare the key words by telephone with whom they name before you sign")


def _as_value(connection: Connection, one: Outcome) -> dict[str, object]:
    return {
        "charter": one.draft.digest,
        "version": one.draft.charter.version,
        "changes": changes(connection.log.charter, one.draft.charter),
        "signed_by": [signature.signer for signature in one.draft.signatures],
        "missing": one.missing.most,
    }
