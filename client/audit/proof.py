"""One entry of the log with all that it takes to believe it: a file that needs neither the log nor the hub.

Whoever holds the founding charter's digest can check it: every version of the charter with its place in the log, the
entry with its place, and one checkpoint over both, with the cosignatures of the witnesses if it has any. Not shown
is what only the whole log shows: that the entry kept to the order of its study, and to the budgets.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import Field, ValidationError

from client.audit.replay import Audited
from client.audit.verify import Seen, every, verify_file
from client.audit.witnessing import Witnessing, read_witnessing
from client.errors import AuditFailed, UsageRefused
from protocol import canonical
from protocol.chain import STATEMENT_KINDS, CharterChain, in_force_after, read_leaf
from protocol.charter import Charter
from protocol.errors import ProtocolError
from protocol.export import RecordedLeaf
from protocol.ids import Hex32, Strict
from protocol.signing import Signed
from protocol.study import explain
from protocol.translog import LogEntry
from protocol.tree import HashedTree, TreeHead, leaf_hash, verify_inclusion

MAX_PROOF_BYTES: Final = 256 * 1024 * 1024


class Placed(Strict):
    """A leaf with its statement (the exact text; null if the prover held none) and its way up to the root."""

    index: Annotated[int, Field(ge=0)]
    leaf: LogEntry
    statement: str | None
    proof: Annotated[tuple[Hex32, ...], Field(max_length=63)]


class Proof(Strict):
    """The file. ``charters`` are all charter statements up to the checkpoint, oldest first."""

    format: Literal["consortia-proof/1"]
    checkpoint: str
    charters: Annotated[tuple[Placed, ...], Field(min_length=1, max_length=100_000)]
    entry: Placed

    def encode(self) -> bytes:
        return canonical.encode(self.model_dump(mode="json")) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Self:
        """Raises ``AuditFailed`` unless the bytes are the one spelling of a proof."""
        try:
            proof = cls.model_validate_json(data)
        except ValidationError as error:
            raise AuditFailed(f"not a proof file: {explain(error)}") from None
        if proof.encode() != data:
            raise AuditFailed("the proof is not in canonical form (RFC 8785): it was changed after it was made")
        return proof


@dataclass(frozen=True, slots=True)
class Proved:
    """What a proof shows: the entry, its statement (None for an exchange that decides nothing), who vouches for it."""

    index: int
    entry: LogEntry
    signed: Signed | None
    charter: Charter
    witnessing: Witnessing


class Collected:
    """What of a log a proof is made of, taken while it is read: leaf hashes, charters, the entry asked for."""

    def __init__(self, wanted: str) -> None:
        self._index = int(wanted) if wanted.isdecimal() and len(wanted) < 20 else None
        self._digest = wanted
        if self._index is None and not (len(wanted) == 64 and set(wanted) <= set("0123456789abcdef")):
            raise UsageRefused(f"{wanted[:80]!r} is neither a leaf's number nor a digest of 64 hexadecimal characters")
        self.hashes: list[bytes] = []
        self.charters: list[RecordedLeaf] = []
        self.found: list[RecordedLeaf] = []

    def __call__(self, leaf: RecordedLeaf) -> None:
        self.hashes.append(leaf.hash)
        if leaf.entry.kind == "charter":
            self.charters.append(leaf)
        if leaf.index == self._index or leaf.entry.digest == self._digest:
            self.found.append(leaf)


def prove(log: Path, founding: str, wanted: str, seen: Seen | None = None) -> Proof:
    """The proof of one entry, by its number or its statement's digest; the whole log is verified first.

    Raises ``AuditFailed`` for a log that doesn't verify, ``UsageRefused`` for an entry that isn't in it.
    """
    collected = Collected(wanted)
    audited = verify_file(log, founding, seen=every(collected, seen))
    if not collected.found:
        raise UsageRefused(f"the log has no entry {wanted[:64]}; it has {len(collected.hashes)} leaves, from 0")
    if len(collected.found) > 1:
        places = ", ".join(str(leaf.index) for leaf in collected.found[:20])
        raise UsageRefused(f"the statement {wanted[:16]} stands in the log at leaves {places}: name one of them")
    return _made(audited, collected)


def _made(audited: Audited, collected: Collected) -> Proof:
    (entry,) = collected.found
    note, size = audited.header.checkpoint, audited.size
    if audited.witnessing is not None and entry.index < audited.witnessing.checkpoint.size:
        note, size = audited.header.witnessed, audited.witnessing.checkpoint.size
    tree = HashedTree(collected.hashes[:size])
    return Proof(
        format="consortia-proof/1",
        checkpoint=note,
        charters=tuple(_placed(leaf, tree) for leaf in collected.charters if leaf.index < size),
        entry=_placed(entry, tree),
    )


def _placed(leaf: RecordedLeaf, tree: HashedTree) -> Placed:
    path = tuple(node.hex() for node in tree.path(leaf.index))
    statement = None if leaf.recorded is None else leaf.recorded.decode()
    return Placed(index=leaf.index, leaf=leaf.entry, statement=statement, proof=path)


def read_proof(file: Path, founding: str) -> Proved:
    """``check_proof`` of a file. Raises ``UsageRefused`` for one that can't be read."""
    try:
        if file.stat().st_size > MAX_PROOF_BYTES:
            raise AuditFailed(f"the proof has more than {MAX_PROOF_BYTES} bytes, which are the most that are read")
        return check_proof(file.read_bytes(), founding)
    except OSError as error:
        raise UsageRefused(f"proof {file} can't be read: {error.strerror}") from None


def check_proof(data: bytes, founding: str) -> Proved:
    """What the proof shows, checked against nothing but the founding charter's digest. Raises ``AuditFailed``.

    In order: every charter follows from the one before; the newest one's log key signed the checkpoint, which names
    it, and any other line on it is a good one of a witness; every charter and the entry stand where they say; the
    entry's statement is signed as the charter in force at its place demands.
    """
    proof = Proof.decode(data)
    try:
        chain = CharterChain(founding)
        for number, placed in enumerate(proof.charters, start=1):
            chain.check(read_leaf(placed.leaf, (placed.statement or "").encode()))
            if len(chain.charters) != number:
                raise AuditFailed("a statement among the charters is no charter")
        witnessing = read_witnessing(proof.checkpoint, chain.in_force)
        for placed in (*proof.charters, proof.entry):
            _check_place(placed, witnessing.checkpoint.head)
        return _read(proof, chain, witnessing)
    except ProtocolError as error:
        raise AuditFailed(f"the proof does not hold: {error}") from None


def _check_place(placed: Placed, head: TreeHead) -> None:
    path = [bytes.fromhex(node) for node in placed.proof]
    verify_inclusion(leaf_hash(placed.leaf.leaf_bytes()), placed.index, head, path)


def _read(proof: Proof, chain: CharterChain, witnessing: Witnessing) -> Proved:
    entry, places = proof.entry, [placed.index for placed in proof.charters]
    if places != sorted(set(places)):
        raise AuditFailed("the charters stand in the log in another order than they follow from each other")
    before = [charter for charter, place in zip(chain.charters, places, strict=True) if place < entry.index]
    held = before[-1] if before else None
    signed = None
    if entry.leaf.kind in STATEMENT_KINDS:
        signed = read_leaf(entry.leaf, (entry.statement or "").encode())
        held = in_force_after(held, chain.founding, signed)
    elif entry.statement is not None and canonical.digest(entry.statement.encode()) != entry.leaf.digest:
        raise AuditFailed("the text is not the one whose digest the leaf has")
    if held is None:
        raise AuditFailed("no charter was in force at the entry's place")
    return Proved(entry.index, entry.leaf, signed, held, witnessing)
