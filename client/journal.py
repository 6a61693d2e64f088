"""A silo's journal, exported, held against the hub's log by someone who trusts neither.

The rules, in order; the first that is broken raises ``AuditFailed``:

1. The file's chain holds (``protocol.journal_export``), and its founding charter is the one that is pinned here.
2. No two statements of the silo in the log carry the same journal head.
3. Where a statement in the log carries the hash before an entry of the file, that entry is the statement's: its
   digest, type, study, size and time.
4. Every statement of the silo in the log whose own time falls in the period stands in the file.

What can't be proved is said instead: statements that the journal has and the log hasn't (refused ones are told from
absent ones), entries after the newest logged statement, and an end of the file where something may be cut off.
An enrolment counts for the silo only if a charter took its key.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from client.errors import AuditFailed
from protocol.errors import ProtocolError
from protocol.export import RecordedLeaf
from protocol.ids import silo_party
from protocol.journal import Claim, Claims, JournalEvent, statement_event
from protocol.journal_export import Entry, Header, read_entries, read_header
from protocol.membership_statements import Enrolment
from protocol.signing import Signed, parse


@dataclass(frozen=True, slots=True)
class Logged:
    """What the verified log holds of one silo: leaf and statement by digest, and the leaf of each refusal by digest."""

    statements: dict[str, tuple[int, Signed]] = field(default_factory=dict)
    refused: dict[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Doubtful:
    """A statement that the journal has at ``index`` and the log has not; ``refusal``: the leaf that says it refused."""

    index: int
    event: JournalEvent
    refusal: int | None


@dataclass(slots=True)
class CheckedJournal:
    """What a journal proves together with the log. Made only by ``check_journal``, after everything held.

    Entries up to ``fixed_through`` can't be changed without contradicting the log. ``begins`` and ``ends`` say that
    nothing of the period was cut off at that end of the file; counted are the entries in the period.
    """

    header: Header
    begins: bool
    ends: bool = False
    last: int = 0
    head: str = ""
    confirmed: int = 0
    fixed_through: int = 0
    doubtful: list[Doubtful] = field(default_factory=list)
    kinds: Counter[str] = field(default_factory=Counter)
    sizes: Counter[str] = field(default_factory=Counter)


def open_journal(lines: Iterator[bytes]) -> Header:
    """The header, taken from the lines of an exported journal. Raises ``AuditFailed``."""
    try:
        return read_header(lines)
    except ProtocolError as problem:
        raise AuditFailed(f"the journal: {problem}") from None


def logged_of(silo: str, leaves: Iterable[RecordedLeaf], keys: frozenset[str]) -> Logged:
    """What the leaves of an export, verified already, hold of ``silo``, whose signing keys were ``keys``."""
    logged, party = Logged(), silo_party(silo)
    for leaf in leaves:
        if leaf.entry.issuer == party and leaf.entry.kind == "refusal":
            logged.refused[leaf.entry.digest] = leaf.index
        elif leaf.entry.issuer == party and leaf.recorded is not None:
            signed = parse(leaf.recorded)
            if not isinstance(signed.body, Enrolment) or signed.body.signing_key in keys:
                logged.statements[signed.digest] = leaf.index, signed
    return logged


def check_journal(header: Header, lines: Iterable[bytes], logged: Logged, founding: str) -> CheckedJournal:
    """What the file of this header and these further lines proves. Raises ``AuditFailed`` by the rules above."""
    if header.charter != founding:
        raise AuditFailed(f"the journal is of another consortium: its founding charter is {header.charter[:16]}")
    checked, missing = CheckedJournal(header, begins=header.first == 1), dict(logged.statements)
    try:
        claims = Claims(_claim(leaf, signed) for leaf, signed in logged.statements.values())
        for entry in read_entries(header, lines):
            claims.take(entry.index, entry.before, entry.data)
            _take(checked, entry, logged)
            missing.pop(entry.event.digest or "", None)
    except ProtocolError as problem:
        raise AuditFailed(f"the journal of {header.silo}: {problem}") from None
    for leaf, signed in missing.values():
        if signed.body.issued_at in header.period:
            what = f"{signed.body.type} {signed.digest[:16]} of {signed.body.issued_at}"
            raise AuditFailed(f"{what} left {header.silo}, and its journal does not have it", leaf)
    return checked


def _claim(leaf: int, signed: Signed) -> Claim:
    body = signed.body
    if body.journal_head is None:
        raise AuditFailed(f"a {body.type} of {body.issuer} carries no journal head", leaf)
    return Claim(body.journal_head, signed.digest, f"{body.type} {signed.digest[:16]}, leaf {leaf}")


def _take(checked: CheckedJournal, entry: Entry, logged: Logged) -> None:
    event, period = entry.event, checked.header.period
    if entry.index == checked.header.first and period.since is not None:
        checked.begins |= event.at < period.since
    checked.ends = period.until is not None and event.at >= period.until
    checked.last, checked.head = entry.index, entry.hash
    if event.at in period:
        checked.kinds[event.kind] += 1
        checked.sizes[event.kind] += event.size
    leaf, signed = logged.statements.get(event.digest or "", (0, None))
    if signed is not None:
        if event != statement_event(signed) or entry.before != signed.body.journal_head:
            raise AuditFailed(f"journal entry {entry.index} is not what the statement there says of itself", leaf)
        checked.confirmed, checked.fixed_through = checked.confirmed + 1, entry.index
    elif event.kind == "statement":
        checked.doubtful.append(Doubtful(entry.index, event, logged.refused.get(event.digest or "")))
