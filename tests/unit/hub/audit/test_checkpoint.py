"""The signer: what it signs a silo can follow, and it never contradicts itself."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from hub.audit.checkpoint import CheckpointSigner
from hub.audit.events import AuditEvent, append_events
from hub.audit.merkle import LogDamaged, MerkleTree, NodeId
from protocol.canonical import digest
from protocol.translog import LogView, NoteRefused, advance, leaf_hash, verify_inclusion

CHARTER = "ab" * 32
NOW = datetime(2026, 11, 22, 3, 29, tzinfo=UTC)
SIGNER = CheckpointSigner("log.example/consortium", Ed25519PrivateKey.from_private_bytes(bytes(range(32))))
LEAVES = [leaf_hash(n.to_bytes(4)) for n in range(50)]


class MemoryNodes(dict[NodeId, bytes]):
    def get_nodes(self, nodes: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        return {node: self[node] for node in nodes if node in self}

    def put_nodes(self, nodes: Mapping[NodeId, bytes]) -> None:
        self.update(nodes)


def test_a_silo_follows_what_is_signed_hour_by_hour() -> None:
    tree, view, note = MerkleTree(MemoryNodes()), LogView(SIGNER.origin), None
    for hour, batch in enumerate([0, 3, 0, 1, 17, 29]):
        tree = tree.append(LEAVES[tree.size : tree.size + batch])
        note = SIGNER.sign(tree, note, CHARTER, NOW + timedelta(hours=hour))
        view = advance(view, note, tree.consistency_proof(view.size), SIGNER.verifier)
        checkpoint = SIGNER.read(note)
        assert (checkpoint.size, checkpoint.charter) == (tree.size, CHARTER)
        assert checkpoint.signed_at == NOW + timedelta(hours=hour)
    assert view.size == len(LEAVES)


def test_a_store_put_back_to_an_older_copy_is_not_signed_for() -> None:
    tree = MerkleTree(MemoryNodes()).append(LEAVES[:9])
    note = SIGNER.sign(tree, None, CHARTER, NOW)
    with pytest.raises(LogDamaged, match="9 leaves were signed for, the store has 8"):
        SIGNER.sign(MerkleTree(tree.store, 8), note, CHARTER, NOW)


def test_a_store_whose_past_was_altered_is_not_signed_for() -> None:
    note = SIGNER.sign(MerkleTree(MemoryNodes()).append(LEAVES[:9]), None, CHARTER, NOW)
    altered = MerkleTree(MemoryNodes()).append([leaf_hash(b"altered"), *LEAVES[1:12]])
    with pytest.raises(LogDamaged, match="first 9 leaves no longer give the root"):
        SIGNER.sign(altered, note, CHARTER, NOW)


def test_another_log_s_note_is_no_base_to_sign_on() -> None:
    other = CheckpointSigner(SIGNER.origin, Ed25519PrivateKey.from_private_bytes(bytes(32)))
    tree = MerkleTree(MemoryNodes()).append(LEAVES[:9])
    with pytest.raises(NoteRefused, match="no signature by key"):
        SIGNER.sign(tree, other.sign(tree, None, CHARTER, NOW), CHARTER, NOW)


def test_the_signer_s_key_is_not_in_its_repr() -> None:
    assert repr(SIGNER) == "CheckpointSigner(origin='log.example/consortium')"


def test_an_event_becomes_a_leaf_that_names_the_exact_bytes() -> None:
    before = MerkleTree(MemoryNodes()).append(LEAVES[:4])
    events = [
        AuditEvent("study-approved", b'{"body":{}}', "person:ada", "cd" * 32),
        AuditEvent("refusal", b"no", "hub", "cd" * 32, "3"),
    ]
    appended = append_events(before, events, NOW)
    assert (appended.first_index, appended.tree.size) == (4, 6)
    assert [entry.digest for entry in appended.entries] == [digest(b'{"body":{}}'), digest(b"no")]
    assert appended.entries[1].recorded_at == "2026-11-22T03:29:00Z"
    for index, entry in enumerate(appended.entries, start=4):
        verify_inclusion(entry.leaf_hash(), index, appended.tree.head(), appended.tree.inclusion_proof(index))


def test_one_event_the_protocol_doesn_t_know_keeps_all_out_of_the_log() -> None:
    store = MemoryNodes()
    with pytest.raises(ValidationError):
        append_events(
            MerkleTree(store), [AuditEvent("refusal", b"", "hub"), AuditEvent("refusal", b"", "Dr. Ada")], NOW
        )
    assert not store
