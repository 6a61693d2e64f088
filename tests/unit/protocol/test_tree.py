"""Tree hashes and proof checks, against Go's tlog and against the recursive definitions of RFC 6962."""

import hashlib
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.translog import (
    EMPTY_ROOT,
    ProofRefused,
    TreeHead,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)
from protocol.tree import GrowingTree, HashedTree

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "translog_tree.json").read_text())
LEAVES = [leaf_hash(n.to_bytes(4)) for n in range(70)]
SIZES = st.integers(1, len(LEAVES))


def mth(hashes: list[bytes]) -> bytes:
    """RFC 6962, 2.1, word for word."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    k = split(len(hashes))
    return node_hash(mth(hashes[:k]), mth(hashes[k:]))


def path(m: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(hashes) == 1:
        return []
    k = split(len(hashes))
    if m < k:
        return [*path(m, hashes[:k]), mth(hashes[k:])]
    return [*path(m - k, hashes[k:]), mth(hashes[:k])]


def subproof(m: int, hashes: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if m == len(hashes):
        return [] if whole else [mth(hashes)]
    k = split(len(hashes))
    if m <= k:
        return [*subproof(m, hashes[:k], whole), mth(hashes[k:])]
    return [*subproof(m - k, hashes[k:], False), mth(hashes[:k])]


def split(n: int) -> int:
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def head(size: int) -> TreeHead:
    return TreeHead(size, tree_root(LEAVES[:size]))


def flip(blob: bytes, bit: int) -> bytes:
    changed = bytearray(blob)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def golden_head(size: int) -> TreeHead:
    return TreeHead(size, bytes.fromhex(VECTORS["roots"][size]))


def golden_proof(case: dict[str, list[str]]) -> list[bytes]:
    return [bytes.fromhex(digest) for digest in case["proof"]]


def test_the_empty_tree_and_the_empty_leaf_have_the_hashes_of_rfc_6962() -> None:
    assert tree_root([]).hex() == "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert leaf_hash(b"").hex() == VECTORS["empty_leaf_hash"]
    assert tree_root([leaf_hash(b"")]) == leaf_hash(b"")


def test_a_leaf_and_a_node_of_the_same_bytes_hash_apart() -> None:
    assert leaf_hash(LEAVES[0] + LEAVES[1]) != node_hash(LEAVES[0], LEAVES[1])


def test_the_roots_of_the_well_known_tree_are_those_of_go() -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in VECTORS["leaves"]]
    assert [tree_root(leaves[:size]).hex() for size in range(9)] == VECTORS["roots"]
    assert VECTORS["roots"][8] == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"


@pytest.mark.parametrize("case", VECTORS["inclusion"])
def test_go_s_inclusion_proofs_verify(case: dict[str, list[str]]) -> None:
    size, index = int(str(case["size"])), int(str(case["index"]))
    leaf = leaf_hash(bytes.fromhex(VECTORS["leaves"][index]))
    verify_inclusion(leaf, index, golden_head(size), golden_proof(case))


@pytest.mark.parametrize("case", VECTORS["consistency"])
def test_go_s_consistency_proofs_verify(case: dict[str, list[str]]) -> None:
    old, new = int(str(case["old_size"])), int(str(case["new_size"]))
    verify_consistency(golden_head(old), golden_head(new), golden_proof(case))


@settings(deadline=None, max_examples=60)
@given(SIZES)
def test_the_root_is_the_recursive_definition_s(size: int) -> None:
    assert tree_root(LEAVES[:size]) == mth(LEAVES[:size])


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_an_inclusion_proof_verifies_and_any_change_to_it_is_refused(data: st.DataObject) -> None:
    size = data.draw(SIZES)
    index = data.draw(st.integers(0, size - 1))
    proof = path(index, LEAVES[:size])
    verify_inclusion(LEAVES[index], index, head(size), proof)

    bit = data.draw(st.integers(0, 255))
    others = [place for place in range(len(LEAVES)) if place != index]
    wrong = [
        (flip(LEAVES[index], bit), index, head(size), proof),
        (LEAVES[index], index, TreeHead(size, flip(head(size).root, bit)), proof),
        (LEAVES[index], data.draw(st.sampled_from(others)), head(size), proof),
        (LEAVES[index], -1, head(size), proof),
        (LEAVES[index], index, head(data.draw(SIZES.filter(lambda n: n != size))), proof),
        (LEAVES[index], index, head(size), [*proof, LEAVES[0]]),
        (LEAVES[index], index, head(size), [LEAVES[0], *proof]),
    ]
    if proof:
        place = data.draw(st.integers(0, len(proof) - 1))
        wrong.append((LEAVES[index], index, head(size), [*proof[:place], flip(proof[place], bit), *proof[place + 1 :]]))
        wrong.append((LEAVES[index], index, head(size), [*proof[:place], *proof[place + 1 :]]))
    if len(proof) > 1:
        wrong.append((LEAVES[index], index, head(size), proof[::-1]))
        wrong.append((LEAVES[index], index, head(size), [proof[1], proof[0], *proof[2:]]))
    for attempt in wrong:
        with pytest.raises(ProofRefused):
            verify_inclusion(*attempt)


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_a_consistency_proof_verifies_and_any_change_to_it_is_refused(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, len(LEAVES)))
    old = data.draw(st.integers(1, new - 1))
    proof = subproof(old, LEAVES[:new])
    verify_consistency(head(old), head(new), proof)

    bit = data.draw(st.integers(0, 255))
    place = data.draw(st.integers(0, len(proof) - 1))
    wrong = [
        (TreeHead(old, flip(head(old).root, bit)), head(new), proof),
        (head(old), TreeHead(new, flip(head(new).root, bit)), proof),
        (head(data.draw(SIZES.filter(lambda n: n != old))), head(new), proof),
        (head(old), head(data.draw(SIZES.filter(lambda n: n != new))), proof),
        (head(new), head(old), proof),
        (head(old), head(new), [*proof[:place], flip(proof[place], bit), *proof[place + 1 :]]),
        (head(old), head(new), [*proof[:place], *proof[place + 1 :]]),
        (head(old), head(new), [*proof, LEAVES[0]]),
        (head(old), head(new), []),
    ]
    if len(proof) > 1:
        wrong.append((head(old), head(new), proof[::-1]))
    for attempt in wrong:
        with pytest.raises(ProofRefused):
            verify_consistency(*attempt)


@settings(deadline=None, max_examples=100)
@given(st.data())
def test_a_log_that_changed_one_old_leaf_can_t_prove_that_it_grew(data: st.DataObject) -> None:
    new = data.draw(st.integers(2, len(LEAVES)))
    old = data.draw(st.integers(1, new - 1))
    forked = list(LEAVES[:new])
    forked[data.draw(st.integers(0, old - 1))] = leaf_hash(b"another")
    with pytest.raises(ProofRefused):
        verify_consistency(head(old), TreeHead(new, mth(forked)), subproof(old, forked))


def test_from_nothing_or_to_itself_only_the_empty_proof_stands() -> None:
    verify_consistency(TreeHead(0, EMPTY_ROOT), head(5), [])
    verify_consistency(head(5), head(5), [])
    verify_consistency(TreeHead(0, EMPTY_ROOT), TreeHead(0, EMPTY_ROOT), [])
    for old in (TreeHead(0, EMPTY_ROOT), head(5)):
        with pytest.raises(ProofRefused, match="must be empty"):
            verify_consistency(old, head(5), [LEAVES[0]])
    with pytest.raises(ProofRefused, match="root unchanged"):
        verify_consistency(head(5), TreeHead(5, head(6).root), [])
    with pytest.raises(ProofRefused, match="empty log"):
        verify_consistency(TreeHead(0, head(1).root), head(5), [])
    with pytest.raises(ProofRefused, match="can't grow"):
        verify_consistency(TreeHead(-1, EMPTY_ROOT), head(5), [])


def test_an_inner_node_can_t_pose_as_a_leaf() -> None:
    pair = node_hash(LEAVES[0], LEAVES[1])
    with pytest.raises(ProofRefused, match="doesn't lead to the root"):
        verify_inclusion(pair, 0, head(4), [node_hash(LEAVES[2], LEAVES[3])])


def test_a_signed_size_larger_than_the_tree_under_its_root_is_refused() -> None:
    proof = subproof(4, LEAVES[:8])
    verify_consistency(head(4), head(8), proof)
    with pytest.raises(ProofRefused, match="fewer hashes"):
        verify_consistency(head(4), TreeHead(16, head(8).root), proof)


def test_no_leaf_stands_in_an_empty_log() -> None:
    with pytest.raises(ProofRefused, match="outside a log of 0"):
        verify_inclusion(LEAVES[0], 0, TreeHead(0, EMPTY_ROOT), [])


def test_a_hash_of_another_length_is_refused() -> None:
    proof = path(0, LEAVES[:4])
    with pytest.raises(ProofRefused, match="31 bytes"):
        verify_inclusion(LEAVES[0], 0, head(4), [proof[0], proof[1][:31]])
    with pytest.raises(ProofRefused, match="33 bytes"):
        verify_consistency(head(2), head(4), [subproof(2, LEAVES[:4])[0] + b"\x00"])


@given(SIZES)
def test_a_tree_that_grows_has_the_root_of_the_definition_at_every_size(size: int) -> None:
    tree = GrowingTree()
    assert tree.root == EMPTY_ROOT
    for number, leaf in enumerate(LEAVES[:size], start=1):
        tree.append(leaf)
        assert (tree.size, tree.root) == (number, mth(LEAVES[:number]))


@given(SIZES, st.data())
def test_a_proof_from_the_whole_tree_is_the_one_of_the_definition(size: int, data: st.DataObject) -> None:
    index = data.draw(st.integers(0, size - 1))
    assert HashedTree(LEAVES[:size]).path(index) == path(index, LEAVES[:size])
    with pytest.raises(ProofRefused):
        HashedTree(LEAVES[:size]).path(size)
