"""The stored tree against the verifiers of the protocol package, over a store in memory that counts its reads."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hub.audit.merkle import LogDamaged, MerkleTree, NodeId
from protocol.translog import (
    EMPTY_ROOT,
    ProofRefused,
    TreeHead,
    leaf_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

VECTORS = json.loads((Path(__file__).parents[3] / "vectors" / "translog_tree.json").read_text())
LEAVES = [leaf_hash(n.to_bytes(4)) for n in range(300)]


class MemoryNodes:
    """A dict that keeps the contract of NodeStore: insert only, all or none."""

    def __init__(self) -> None:
        self.nodes: dict[NodeId, bytes] = {}
        self.reads: list[int] = []

    def get_nodes(self, nodes: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        self.reads.append(len(nodes))
        return {node: self.nodes[node] for node in nodes if node in self.nodes}

    def put_nodes(self, nodes: Mapping[NodeId, bytes]) -> None:
        if self.nodes.keys() & nodes.keys():
            raise KeyError("a node exists already")
        self.nodes.update(nodes)


def grown(sizes: Sequence[int]) -> MerkleTree:
    tree = MerkleTree(MemoryNodes())
    for size in sizes:
        tree = tree.append(LEAVES[tree.size : tree.size + size])
    return tree


BATCHES = st.lists(st.integers(0, 40), min_size=1, max_size=7)


def test_an_empty_log_has_the_root_of_nothing() -> None:
    assert MerkleTree(MemoryNodes()).head() == TreeHead(0, EMPTY_ROOT)
    assert MerkleTree(MemoryNodes()).append([]).head() == TreeHead(0, EMPTY_ROOT)


def test_roots_and_proofs_are_byte_for_byte_those_of_go() -> None:
    tree = MerkleTree(MemoryNodes()).append([leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]])
    at = [MerkleTree(tree.store, size) for size in range(9)]
    assert [snapshot.head().root.hex() for snapshot in at] == VECTORS["roots"]
    for case in VECTORS["inclusion"]:
        assert [h.hex() for h in at[case["size"]].inclusion_proof(case["index"])] == case["proof"]
    for case in VECTORS["consistency"]:
        assert [h.hex() for h in at[case["new_size"]].consistency_proof(case["old_size"])] == case["proof"]


@settings(deadline=None, max_examples=60)
@given(BATCHES)
def test_however_leaves_are_batched_the_same_nodes_are_stored(batches: list[int]) -> None:
    one_by_one, batched = MemoryNodes(), MemoryNodes()
    tree, single = MerkleTree(batched), MerkleTree(one_by_one)
    for size in batches:
        tree = tree.append(LEAVES[tree.size : tree.size + size])
    for leaf in LEAVES[: tree.size]:
        single = single.append([leaf])
    assert batched.nodes == one_by_one.nodes
    assert tree.head() == single.head() == TreeHead(tree.size, tree_root(LEAVES[: tree.size]))


@settings(deadline=None, max_examples=60)
@given(BATCHES.filter(lambda batches: sum(batches) > 0), st.data())
def test_every_proof_of_every_size_verifies(batches: list[int], data: st.DataObject) -> None:
    tree = grown(batches)
    size = data.draw(st.integers(1, tree.size))
    snapshot = MerkleTree(tree.store, size)
    index = data.draw(st.integers(0, size - 1))
    verify_inclusion(LEAVES[index], index, snapshot.head(), snapshot.inclusion_proof(index))
    old = MerkleTree(tree.store, data.draw(st.integers(0, size)))
    verify_consistency(old.head(), snapshot.head(), snapshot.consistency_proof(old.size))


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 200), st.data())
def test_a_fork_never_proves_that_it_extends_what_was_seen(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    changed = data.draw(st.integers(0, old - 1))
    forked = MerkleTree(MemoryNodes()).append([*LEAVES[:changed], leaf_hash(b"fork"), *LEAVES[changed + 1 : new]])
    with pytest.raises(ProofRefused):
        verify_consistency(grown([old]).head(), forked.head(), forked.consistency_proof(old))


def test_a_proof_is_one_read_of_a_few_nodes() -> None:
    store = MemoryNodes()
    tree = MerkleTree(store).append([leaf_hash(n.to_bytes(4)) for n in range(2**12 - 1)])
    for ask in (tree.head, lambda: tree.inclusion_proof(1234), lambda: tree.consistency_proof(1111)):
        store.reads.clear()
        ask()
        assert len(store.reads) == 1
        assert store.reads[0] <= 2 * 12


def test_of_two_writers_at_one_size_the_second_fails_and_stores_nothing() -> None:
    tree = grown([5])
    tree.append(LEAVES[5:7])
    before = dict(tree.store.nodes) if isinstance(tree.store, MemoryNodes) else {}
    with pytest.raises(KeyError):
        tree.append([leaf_hash(b"other"), LEAVES[6]])
    assert isinstance(tree.store, MemoryNodes) and tree.store.nodes == before


def test_a_lost_node_is_reported_and_never_guessed() -> None:
    tree = grown([7])
    assert isinstance(tree.store, MemoryNodes)
    del tree.store.nodes[1, 2]
    for ask in (tree.head, lambda: tree.inclusion_proof(0), lambda: tree.append(LEAVES[7:8])):
        with pytest.raises(LogDamaged, match=r"\(1, 2\)"):
            ask()


def test_a_leaf_or_size_that_isn_t_there_is_refused() -> None:
    tree = grown([7])
    for index in (-1, 7):
        with pytest.raises(ValueError, match="outside a log of 7"):
            tree.inclusion_proof(index)
    for size in (-1, 8):
        with pytest.raises(ValueError, match="outside 0 to 7"):
            tree.consistency_proof(size)
    with pytest.raises(ValueError, match="32 bytes"):
        tree.append([LEAVES[7], b"short"])
    assert tree.consistency_proof(0) == tree.consistency_proof(7) == ()
