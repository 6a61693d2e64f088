"""Following the hub's log without trusting the hub: what a silo, a researcher or an officer does on every poll.

The rules, in order; breaking one raises and leaves the follower as it was:

1. The checkpoint is signed by the charter's log key and extends the view that is held (``translog.LogView``).
2. Every entry's leaf stands in the checkpoint's tree at the entry's index (RFC 6962 inclusion proof).
3. The leaf's digest is that of the statement shown, its kind, issuer and study are the statement's own. Leaves
   of other kinds record exchanges (a refusal, say); they are checked by rule 2 and tell a follower nothing.
4. A charter statement is signed by the founding admin and may directly follow the charter held (``charter``).
5. Any other statement is signed by the key that the charter names for its issuer, whose role allows it. An enrolment's silo isn't in
   the charter yet: its signature is by the key it asks for.
6. Indices only grow, and stay below the checkpoint's size.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from protocol import canonical
from protocol.authority import SPEAKERS, check_authority
from protocol.charter import Charter, charter_digest, check_succession, follow
from protocol.errors import BadSignature, Malformed
from protocol.routes import Follow, LoggedEntry
from protocol.statements import CharterPublished, Enrolment, Signed, parse, verify, verify_by
from protocol.translog import Checkpoint, LogEntry, LogView, VerifierKey, advance, leaf_hash, verify_inclusion
from protocol.tree import TreeHead


@dataclass(frozen=True, slots=True)
class Verified:
    """A statement that stands in the log at ``index``, signed by whom it says."""

    index: int
    signed: Signed


@dataclass(frozen=True, slots=True)
class Follower:
    """What one party holds: the charter in force, its view of the log, and the index it has read up to."""

    charter: Charter
    view: LogView
    next: int

    @property
    def verifier(self) -> VerifierKey:
        return VerifierKey.from_hex(self.charter.log_origin, self.charter.log_key)


def begin(chain: Iterable[bytes], founding_digest: str) -> Follower:
    """A follower who pinned ``founding_digest`` and was shown the charter statements ``chain``, oldest first.

    Only the founding version is taken from here; later versions are taken from the log, in their place.
    """
    statements = [parse(wire) for wire in chain]
    if not statements or not isinstance(statements[0].body, CharterPublished):
        raise Malformed("the hub has no charter yet")
    founding = follow([statements[0].body.charter], founding_digest)
    verify(statements[0], founding.person(founding.admin).signing_key)
    return Follower(founding, LogView(founding.log_origin), 0)


def advance_follower(
    held: Follower, answer: Follow, consistency: Sequence[str]
) -> tuple[Follower, list[Verified]]:
    """The follower after a poll's answer, with the statements it brought. Raises by the rules above.

    ``consistency`` leads from the view held to the answer's checkpoint: the answer's own proof, unless an
    answer before was cut short, so that the view is ahead of ``held.next``.
    """
    proof = [bytes.fromhex(node) for node in consistency]
    view = advance(held.view, answer.checkpoint, proof, held.verifier)
    charter, last, verified = held.charter, held.next - 1, []
    for entry in answer.entries:
        if not last < entry.index < view.size:
            raise Malformed(f"log entry {entry.index} is out of order, or beyond the checkpoint's size {view.size}")
        last = entry.index
        signed = _check_entry(entry, TreeHead(view.size, view.root))
        if signed is not None:
            charter = _check_signature(charter, signed)
            verified.append(Verified(entry.index, signed))
    if not max(held.next, last + 1) <= answer.next <= view.size:
        raise Malformed(f"next is {answer.next}; it must be from {max(held.next, last + 1)} to {view.size}")
    return replace(held, charter=charter, view=view, next=answer.next), verified


def _check_entry(entry: LoggedEntry, head: TreeHead) -> Signed | None:
    leaf = LogEntry.model_validate_json(entry.leaf)
    if leaf.leaf_bytes() != entry.leaf.encode():
        raise Malformed(f"log entry {entry.index}: the leaf is not in canonical form")
    verify_inclusion(leaf_hash(entry.leaf.encode()), entry.index, head, [bytes.fromhex(node) for node in entry.proof])
    if leaf.kind not in SPEAKERS:
        return None
    wire = entry.statement.encode()
    signed = parse(wire)
    study = getattr(signed.body, "study", None)
    if canonical.digest(wire) != leaf.digest or leaf.kind != signed.body.type or leaf.issuer != signed.body.issuer:
        raise Malformed(f"log entry {entry.index}: the leaf is not of the statement shown with it")
    if study is not None and leaf.study != study:
        raise Malformed(f"log entry {entry.index}: the leaf names another study than its statement")
    return signed


def _check_signature(charter: Charter, signed: Signed) -> Charter:
    body = signed.body
    if isinstance(body, CharterPublished):
        if body.issuer != f"person:{charter.admin}":
            raise BadSignature("a charter must be signed by the founding admin")
        verify_by(signed, charter)
        if charter_digest(body.charter) != charter_digest(charter):
            check_succession(charter, body.charter)
        return body.charter
    if isinstance(body, Enrolment):
        verify(signed, body.signing_key)
        if body.issuer != f"silo:{body.silo}":
            raise BadSignature("an enrolment must be by the silo it names")
        return charter
    verify_by(signed, charter)
    check_authority(body, charter)
    return charter


def checkpoint_size(note: str) -> int:
    """The size a checkpoint's text states, nothing verified: for asking the hub for the fitting proof."""
    return Checkpoint.parse(note.partition("\n\n")[0] + "\n").size
