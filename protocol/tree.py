"""Merkle tree hashes and proofs: RFC 6962 section 2.1, checked by the algorithms of RFC 9162."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from protocol.signed_note import LogError

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = hashlib.sha256(b"").digest()


class ProofRefused(LogError):
    """An inclusion or consistency proof that doesn't lead to the root it should."""


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(0x00 || leaf), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x00" + leaf).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right), RFC 6962 section 2.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


def tree_root(leaf_hashes: Sequence[bytes]) -> bytes:
    """Root over leaf *hashes*, in order; level by level, a node without a sibling moves up as it is."""
    level = list(leaf_hashes)
    if not level:
        return EMPTY_ROOT
    while len(level) > 1:
        odd = level[-1:] if len(level) % 2 else []
        level = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd
    return level[0]


class GrowingTree:
    """The root over leaves that come one by one: it holds one node for each power of two in its size."""

    def __init__(self) -> None:
        self.size = 0
        self._nodes: list[bytes] = []

    def append(self, leaf: bytes) -> None:
        """The next leaf *hash*."""
        node, full = leaf, self.size
        while full & 1:
            node, full = node_hash(self._nodes.pop(), node), full >> 1
        self._nodes.append(node)
        self.size += 1

    @property
    def root(self) -> bytes:
        if not self._nodes:
            return EMPTY_ROOT
        *rest, root = self._nodes
        for node in reversed(rest):
            root = node_hash(node, root)
        return root


class HashedTree:
    """All nodes over some leaf hashes, for many inclusion proofs under one root."""

    def __init__(self, leaf_hashes: Sequence[bytes]) -> None:
        self.size = len(leaf_hashes)
        self._levels = [list(leaf_hashes)]
        while len(level := self._levels[-1]) > 1:
            odd = level[-1:] if len(level) % 2 else []
            self._levels.append([node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)] + odd)

    def path(self, index: int) -> list[bytes]:
        """The proof that the leaf at ``index`` stands under the root (RFC 6962, 2.1.1): siblings, lowest first."""
        if not 0 <= index < self.size:
            raise ProofRefused(f"leaf {index} is outside a log of {self.size} leaves")
        beside = ((level, (index >> height) ^ 1) for height, level in enumerate(self._levels[:-1]))
        return [level[sibling] for level, sibling in beside if sibling < len(level)]


@dataclass(frozen=True, slots=True)
class TreeHead:
    """Size in leaves and root hash (32 bytes), as one checkpoint signed them together.

    They stay together on purpose: a proof against a right root and a wrong size may verify.
    """

    size: int
    root: bytes


def verify_inclusion(leaf: bytes, index: int, head: TreeHead, proof: Sequence[bytes]) -> None:
    """Raise `ProofRefused` unless leaf *hash* `leaf` stands at `index` under `head` (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < head.size:
        raise ProofRefused(f"leaf {index} is outside a log of {head.size} leaves")
    _require_hashes([leaf, *proof])
    fn, sn, root = index, head.size - 1, leaf
    for sibling in proof:
        if sn == 0:
            raise ProofRefused(f"the inclusion proof of leaf {index} has more hashes than the tree has levels")
        if fn & 1 or fn == sn:
            root = node_hash(sibling, root)
            fn, sn = _skip_missing_siblings(fn, sn)
        else:
            root = node_hash(root, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0 or root != head.root:
        raise ProofRefused(f"the inclusion proof of leaf {index} doesn't lead to the root of {head.size} leaves")


def verify_consistency(old: TreeHead, new: TreeHead, proof: Sequence[bytes]) -> None:
    """Raise `ProofRefused` unless `new` only appended leaves to `old` (RFC 9162, 2.1.4.2)."""
    _require_hashes(proof)
    if not 0 <= old.size <= new.size:
        raise ProofRefused(f"a log of {old.size} leaves can't grow into one of {new.size}")
    if old.size == 0 and old.root != EMPTY_ROOT:
        raise ProofRefused("the root of an empty log is SHA-256 of nothing")
    if old.size in (0, new.size):  # nothing to prove: the RFC has no proof here, so none is accepted
        if proof or (old.size == new.size and old.root != new.root):
            raise ProofRefused(f"from {old.size} to {new.size} leaves: the proof must be empty and the root unchanged")
        return
    if not proof:
        raise ProofRefused(f"no consistency proof from {old.size} to {new.size} leaves was given")
    # A complete old tree is itself a node of the new one; the RFC leaves that hash out.
    path = proof if old.size & (old.size - 1) else [old.root, *proof]
    if _roots_along(path, old.size - 1, new.size - 1) != (old.root, new.root):
        raise ProofRefused(f"the consistency proof doesn't lead from {old.size} to {new.size} leaves")


def _roots_along(path: Sequence[bytes], fn: int, sn: int) -> tuple[bytes, bytes]:
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    old = new = path[0]
    for sibling in path[1:]:
        if sn == 0:
            raise ProofRefused("the consistency proof has more hashes than the tree has levels")
        if fn & 1 or fn == sn:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            fn, sn = _skip_missing_siblings(fn, sn)
        else:
            new = node_hash(new, sibling)
        fn, sn = fn >> 1, sn >> 1
    if sn != 0:
        raise ProofRefused("the consistency proof has fewer hashes than the tree has levels")
    return old, new


def _skip_missing_siblings(fn: int, sn: int) -> tuple[int, int]:
    while not fn & 1 and fn != 0:
        fn, sn = fn >> 1, sn >> 1
    return fn, sn


def _require_hashes(hashes: Sequence[bytes]) -> None:
    for place, digest in enumerate(hashes):
        if len(digest) != HASH_BYTES:
            raise ProofRefused(f"hash {place} of the proof has {len(digest)} bytes, {HASH_BYTES} are needed")
