"""The log's tree over stored hashes: appended to in batches, never rewritten (RFC 6962, section 2.1).

Stored are the hashes of *complete* subtrees: node (level, index) covers leaves index * 2**level up to, but without,
(index + 1) * 2**level. Such a node never changes, so a `MerkleTree` is a snapshot: one of an older size over the
same store gives that size's root and proofs. A root or proof takes one read of O(log n) nodes.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from protocol.tree import EMPTY_ROOT, HASH_BYTES, TreeHead, node_hash

__all__ = ["LogDamaged", "MerkleTree", "NodeId", "NodeStore"]

NodeId = tuple[int, int]
"""(level, index); level 0 holds the leaf hashes."""


class LogDamaged(Exception):
    """The store lacks or contradicts what the log signed: stop signing, restore the store, tell the members."""


class NodeStore(Protocol):
    """Where the hashes are kept, 32 bytes each; about two nodes a leaf."""

    def get_nodes(self, nodes: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        """Return the hashes of those `nodes` that exist."""

    def put_nodes(self, nodes: Mapping[NodeId, bytes]) -> None:
        """Insert new nodes, all or none. A node that exists already must make this fail, whatever its hash:
        of two writers who append at one size, one has to lose, or the log forks.
        """


@dataclass(frozen=True, slots=True)
class MerkleTree:
    """The first `size` leaves of what `store` holds."""

    store: NodeStore
    size: int = 0

    def append(self, leaf_hashes: Sequence[bytes]) -> "MerkleTree":
        """Store the nodes that `leaf_hashes` complete and return the grown tree; call it in the leaves' transaction."""
        if any(len(leaf) != HASH_BYTES for leaf in leaf_hashes):
            raise ValueError(f"a leaf hash has {HASH_BYTES} bytes")
        known = self._read(_complete_nodes(0, self.size))
        fresh = {(0, self.size + offset): leaf for offset, leaf in enumerate(leaf_hashes)}
        known |= fresh
        size = self.size + len(leaf_hashes)
        for level in range(1, size.bit_length()):
            for index in range(self.size >> level, size >> level):
                parent = node_hash(known[level - 1, 2 * index], known[level - 1, 2 * index + 1])
                known[level, index] = fresh[level, index] = parent
        if fresh:
            self.store.put_nodes(fresh)
        return MerkleTree(self.store, size)

    def head(self) -> TreeHead:
        """Size and root."""
        return TreeHead(self.size, self._hashes([(0, self.size)])[0] if self.size else EMPTY_ROOT)

    def inclusion_proof(self, index: int) -> tuple[bytes, ...]:
        """Hashes from the leaf's sibling upwards (RFC 6962, 2.1.1); `ValueError` for a leaf that isn't there."""
        if not 0 <= index < self.size:
            raise ValueError(f"leaf {index} is outside a log of {self.size} leaves")
        return self._hashes(_path(index, 0, self.size))

    def consistency_proof(self, old_size: int) -> tuple[bytes, ...]:
        """Hashes that join the tree of `old_size` leaves to this one (RFC 6962, 2.1.2); none from 0 or to itself."""
        if not 0 <= old_size <= self.size:
            raise ValueError(f"old size {old_size} is outside 0 to {self.size}")
        return self._hashes(_joints(old_size, self.size) if old_size else [])

    def _hashes(self, spans: Sequence[tuple[int, int]]) -> tuple[bytes, ...]:
        parts = [_complete_nodes(begin, end) for begin, end in spans]
        known = self._read([node for nodes in parts for node in nodes])
        return tuple(_fold([known[node] for node in nodes]) for nodes in parts)

    def _read(self, nodes: Sequence[NodeId]) -> dict[NodeId, bytes]:
        known = dict(self.store.get_nodes(nodes)) if nodes else {}
        missing = [node for node in nodes if node not in known]
        if missing:
            raise LogDamaged(f"{len(missing)} of the log's nodes are missing, the first at (level, index) {missing[0]}")
        return known


def _path(index: int, begin: int, end: int) -> list[tuple[int, int]]:
    """Spans [begin, end) of the siblings on the way from leaf `index` to the root, lowest first."""
    spans = []
    while end - begin > 1:
        middle = begin + _split(end - begin)
        if index < middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    return spans[::-1]


def _joints(old_size: int, size: int) -> list[tuple[int, int]]:
    """Spans of SUBPROOF(old_size, D[0:size], true), RFC 6962, 2.1.2."""
    begin, end, spans = 0, size, []
    while end != old_size:
        middle = begin + _split(end - begin)
        if old_size <= middle:
            spans.append((middle, end))
            end = middle
        else:
            spans.append((begin, middle))
            begin = middle
    # The old tree's own root is left out: the verifier has it.
    own = [] if begin == 0 else [(begin, end)]
    return own + spans[::-1]


def _split(width: int) -> int:
    """The largest power of two smaller than `width`, which is at least 2."""
    return 1 << (width - 1).bit_length() - 1


def _complete_nodes(begin: int, end: int) -> list[NodeId]:
    """The complete subtrees that make up a span, left to right; `begin` is a multiple of the largest."""
    nodes = []
    while begin < end:
        level = (end - begin).bit_length() - 1
        nodes.append((level, begin >> level))
        begin += 1 << level
    return nodes


def _fold(hashes: Iterable[bytes]) -> bytes:
    """The root over complete subtrees, which join from the right."""
    *left, root = hashes
    for sibling in reversed(left):
        root = node_hash(sibling, root)
    return root
