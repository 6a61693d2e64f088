"""Following the hub's log without trusting the hub: what a silo does on every poll.

The rules, in order; breaking one raises and leaves the follower as it was:

1. The checkpoint is signed by the log key of the charter that it names. That charter is the one in force, or follows
   from it by versions that were shown (``protocol.succession``), so that a log key can be replaced and an old one is
   worth nothing.
2. It extends the view held (``translog.LogView``).
3. Every entry's leaf stands in the checkpoint's tree at the entry's index (RFC 6962 inclusion proof).
4. Every statement is its leaf's, and signed by whom the charter in force there allows (``protocol.chain``). Leaves
   of other kinds record exchanges (a refusal, say); they tell a follower nothing.
5. Indices only grow, and stay below the checkpoint's size.
6. Read up to its end, the log's newest charter is the one that the checkpoint names: none was withheld.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from protocol.chain import STATEMENT_KINDS, CharterChain, in_force_after, read_leaf
from protocol.charter import Charter, charter_digest
from protocol.errors import Malformed, ProtocolError
from protocol.membership_statements import CharterPublished
from protocol.routes import Follow, LoggedEntry
from protocol.signing import Signed, parse
from protocol.translog import (
    Checkpoint,
    LogEntry,
    LogView,
    TreeHead,
    VerifierKey,
    advance,
    leaf_hash,
    verify_inclusion,
)


class CharterUnseen(Malformed):
    """The checkpoint names a charter that was not shown: ask the hub for its charters, and look again."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A statement that stands in the log at ``index``, recorded ``at``, signed by whom it says."""

    index: int
    at: str
    signed: Signed


@dataclass(frozen=True, slots=True)
class Follower:
    """What one party holds: who the founding charter says the log is, the charter in force, its view of the log.

    ``charter`` is None until the log showed the founding one; ``next`` is the index that was read up to.
    """

    founding: str
    charter: Charter | None
    view: LogView
    next: int

    @property
    def in_force(self) -> Charter:
        """Raises ``Malformed`` before the log showed a charter."""
        if self.charter is None:
            raise Malformed("the hub's log has shown no charter yet")
        return self.charter


def begin(chain: Iterable[bytes], founding_digest: str) -> Follower:
    """A follower who pinned ``founding_digest`` and was shown the charter statements ``chain``, oldest first.

    Only the log's name is taken from here; charters count where they stand in the log.
    """
    shown = CharterChain(founding_digest)
    for wire in chain:
        shown.check(parse(wire))
    founding = shown.charters[0] if shown.charters else shown.in_force
    return Follower(founding_digest, None, LogView(founding.log_origin), 0)


def advance_follower(
    held: Follower, answer: Follow, consistency: Sequence[str], charters: Iterable[bytes] = ()
) -> tuple[Follower, list[Verified]]:
    """The follower after a poll's answer, with the statements it brought. Raises ``ProtocolError`` by the rules above.

    ``consistency`` leads from the view held to the answer's checkpoint: the answer's own proof, unless an
    answer before was cut short, so that the view is ahead of ``held.next``. ``charters`` are the hub's charter
    statements, which are needed after ``CharterUnseen`` only.
    """
    shown = [*(entry.statement.encode() for entry in answer.entries), *charters]
    verifier = log_key_of(named_charter(answer.checkpoint), held.charter, held.founding, shown)
    view = advance(held.view, answer.checkpoint, [bytes.fromhex(node) for node in consistency], verifier)
    charter, last, verified = held.charter, held.next - 1, []
    for entry in answer.entries:
        if not last < entry.index < answer.next:
            raise Malformed(f"log entry {entry.index} is out of order, or beyond the answer's end at {answer.next}")
        last = entry.index
        leaf = _included(entry, TreeHead(view.size, view.root))
        if leaf.kind in STATEMENT_KINDS:
            signed = read_leaf(leaf, entry.statement.encode())
            charter = in_force_after(charter, held.founding, signed)
            verified.append(Verified(entry.index, leaf.recorded_at, signed))
    if not held.next <= answer.next <= view.size:
        raise Malformed(f"next is {answer.next}; it must be from {held.next} to {view.size}")
    if answer.next == view.size and charter is not None and named_charter(view.note) != charter_digest(charter):
        raise Malformed("the checkpoint names another charter than the newest that the log has shown")
    return Follower(held.founding, charter, view, answer.next), verified


def log_key_of(named: str, held: Charter | None, founding: str, shown: Iterable[bytes]) -> VerifierKey:
    """The log key of the charter with digest ``named``: the one held, or a successor among the statements ``shown``.

    Raises ``CharterUnseen`` where it is neither.
    """
    charter = held
    for wire in shown:
        if charter is not None and charter_digest(charter) == named:
            break
        charter = _after(charter, founding, wire)
    if charter is None or charter_digest(charter) != named:
        raise CharterUnseen(f"the checkpoint names charter {named[:16]}, which does not follow from what was shown")
    return VerifierKey.from_hex(charter.log_origin, charter.log_key)


def named_charter(note: str) -> str:
    """The charter head that a checkpoint's text states, nothing verified. Raises ``Malformed`` if it states none."""
    named = _stated(note).charter
    if named is None:
        raise Malformed("the checkpoint names no charter")
    return named


def checkpoint_size(note: str) -> int:
    """The size a checkpoint's text states, nothing verified: for asking the hub for the fitting proof."""
    return _stated(note).size


def _stated(note: str) -> Checkpoint:
    return Checkpoint.parse(note.partition("\n\n")[0] + "\n")


def _after(held: Charter | None, founding: str, wire: bytes) -> Charter | None:
    """The next charter if ``wire`` is its statement; what is none, or doesn't follow, changes nothing here."""
    if b'"charter"' not in wire:
        return held
    try:
        signed = parse(wire)
        return in_force_after(held, founding, signed) if isinstance(signed.body, CharterPublished) else held
    except ProtocolError:
        return held


def _included(entry: LoggedEntry, head: TreeHead) -> LogEntry:
    try:
        leaf = LogEntry.model_validate_json(entry.leaf)
    except ValidationError:
        raise Malformed(f"log entry {entry.index}: it is no leaf") from None
    if leaf.leaf_bytes() != entry.leaf.encode():
        raise Malformed(f"log entry {entry.index}: the leaf is not in canonical form")
    proof = [bytes.fromhex(node) for node in entry.proof]
    verify_inclusion(leaf_hash(entry.leaf.encode()), entry.index, head, proof)
    return leaf
