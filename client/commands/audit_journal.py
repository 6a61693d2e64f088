"""``consortia audit journal``: a silo's journal held against the log."""

from pathlib import Path
from typing import Annotated

import typer

from client.audit.verify import Seen, every, verify_file
from client.commands.audit_summary import Founding, reading, say_failed
from client.commands.journal_text import journal_values, print_journal
from client.commands.options import AsJson, checked_digest, print_json
from client.errors import AuditFailed, UsageRefused
from client.journal import CheckedJournal, check_journal, logged_of, open_journal
from protocol.export import RecordedLeaf
from protocol.ids import silo_party


def journal(
    file: Annotated[Path, typer.Argument(help="A silo's journal, from: consortia-silo journal export")],
    log: Annotated[Path, typer.Option("--log", help="An export of the log, from: consortia audit export")],
    charter: Founding,
    as_json: AsJson = False,
) -> None:
    """Check a silo's journal offline against the log; exit code 1 if one contradicts the other."""
    try:
        checked = _checked_journal(file, log, checked_digest(charter) or "")
    except AuditFailed as failed:
        say_failed(failed, as_json)
        raise typer.Exit(1) from None
    if as_json:
        print_json(journal_values(checked))
    else:
        print_journal(checked)


def _kept_from(party: str, said: list[RecordedLeaf]) -> Seen:
    """Keeps a party's own leaves, as they are read."""
    return lambda leaf: said.append(leaf) if leaf.entry.issuer == party else None


def _checked_journal(file: Path, log: Path, founding: str) -> CheckedJournal:
    try:
        with file.open("rb") as lines, reading(log) as seen:
            header = open_journal(lines)
            said: list[RecordedLeaf] = []
            audited = verify_file(log, founding, seen=every(seen, _kept_from(silo_party(header.silo), said)))
            members = [one for charter in audited.chain.charters for one in charter.members]
            keys = frozenset(one.signing_key for one in members if one.silo == header.silo)
            if not keys:
                raise AuditFailed(f"the journal is of a silo {header.silo}, which was never a member")
            return check_journal(header, lines, logged_of(header.silo, said, keys), founding)
    except OSError as error:
        raise UsageRefused(f"journal {file} can't be read: {error.strerror}") from None
