"""Following the hub's log without trusting the hub: what a silo does on every poll.

The rules, in order; breaking one raises and leaves the follower as it was:

1. The checkpoint is signed by the founding charter's log key and extends the view held (``translog.LogView``).
2. Every entry's leaf stands in the checkpoint's tree at the entry's index (RFC 6962 inclusion proof).
3. Every statement is its leaf's, and signed by whom the charter in force there allows (``protocol.chain``). Leaves
   of other kinds record exchanges (a refusal, say); they tell a follower nothing.
4. Indices only grow, and stay below the checkpoint's size.
5. Read up to its end, the log's newest charter is the one that the checkpoint names: none was withheld.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from pydantic import ValidationError

from protocol.chain import STATEMENT_KINDS, CharterChain, in_force_after, read_leaf
from protocol.charter import Charter, charter_digest
from protocol.errors import Malformed
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
    verifier: VerifierKey
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

    Only the log's name and key are taken from here; charters count where they stand in the log.
    """
    shown = CharterChain(founding_digest)
    for wire in chain:
        shown.check(parse(wire))
    founding = shown.charters[0] if shown.charters else shown.in_force
    verifier = VerifierKey.from_hex(founding.log_origin, founding.log_key)
    return Follower(founding_digest, verifier, None, LogView(founding.log_origin), 0)


def advance_follower(held: Follower, answer: Follow, consistency: Sequence[str]) -> tuple[Follower, list[Verified]]:
    """The follower after a poll's answer, with the statements it brought. Raises ``ProtocolError`` by the rules above.

    ``consistency`` leads from the view held to the answer's checkpoint: the answer's own proof, unless an
    answer before was cut short, so that the view is ahead of ``held.next``.
    """
    view = advance(held.view, answer.checkpoint, [bytes.fromhex(node) for node in consistency], held.verifier)
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
    if answer.next == view.size and charter is not None:
        _check_head(view.note, charter)
    return Follower(held.founding, held.verifier, charter, view, answer.next), verified


def checkpoint_size(note: str) -> int:
    """The size a checkpoint's text states, nothing verified: for asking the hub for the fitting proof."""
    return Checkpoint.parse(note.partition("\n\n")[0] + "\n").size


def _check_head(note: str, charter: Charter) -> None:
    named = Checkpoint.parse(note.partition("\n\n")[0] + "\n").charter
    if named != charter_digest(charter):
        raise Malformed("the checkpoint names another charter than the newest that the log has shown")


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
