"""Silo alpha as a witness: what it cosigns, what it never does, and what lets it work."""

import sqlite3
from datetime import UTC, datetime, timedelta

import pytest

from hub.audit.merkle import MerkleTree
from protocol.canonical import digest
from protocol.charter import charter_digest
from protocol.cosignature import CosignerKey, cosign, merge, read_cosignature
from protocol.membership_statements import CharterPublished, Invitation
from protocol.round_statements import SpendReserved
from protocol.signed_note import sign_note, split_note
from protocol.study_statements import StudyAccepted
from protocol.translog import Checkpoint, sign_checkpoint
from protocol.witnesses import MAX_AGE, silo_witness, witnesses_of
from silo_node.agent.witness_memory import WitnessMemory
from silo_node.agent.witnessing import may_work
from silo_node.errors import HubDistrusted, HubUnreachable
from tests.unit.silo_node.agent.fake_hub import ORIGIN, Nodes
from tests.unit.silo_node.agent.story import begin_study

ALPHA = silo_witness(ORIGIN, "alpha")


def charter(node):
    return node.agent._follower.in_force


def newest_charter(node):
    """The digest of the one that the hub logged last, read here or not."""
    bodies = [signed.body for _, signed in node.hub.leaves]
    return charter_digest([body.charter for body in bodies if isinstance(body, CharterPublished)][-1])


def checkpoint(node, tree=None, key=None, named=None, origin=ORIGIN):
    """Of the hub's whole tree, or of another; signed by the log's key, or by another."""
    head = (tree or node.hub.tree).head()
    at = datetime(2026, 11, 22, 11, tzinfo=UTC)
    stamped = Checkpoint.stamped(origin, head, named or newest_charter(node), at)
    return sign_checkpoint(stamped, origin, key or node.hub.group.log)


def prefix(node, size):
    return MerkleTree(node.hub.tree.store, size)


def fork(node, size):
    """Another log of that size: its last leaf is another one."""
    leaves = [leaf.leaf_hash() for leaf, _ in node.hub.leaves][: size - 1]
    return MerkleTree(Nodes(), 0).append([*leaves, bytes(32)])


def cosigned_by(node, note, silos, at=None):
    seconds = int((at or node.now).timestamp())
    parties = node.hub.group.silos
    lines = [cosign(note, silo_witness(ORIGIN, silo), parties[silo].signing, seconds) for silo in silos]
    return merge(note, lines, witnesses_of(charter(node)).keys)


def journaled(node):
    return [entry.event for entry in node.journal.entries() if entry.event.kind == "cosignature"]


def grow(node):
    node.hub.say(Invitation, "person:ada", silo="newcomer", code="a" * 64, expires_at="2099-01-01T00:00:00Z")


@pytest.fixture
def read(node):
    """The node, with the log read to its end and no candidate shown yet."""
    node.hub.candidate = ""
    grow(node)
    grow(node)
    node.go()
    assert node.hub.cosignatures == []
    return node


def show(node, note):
    node.hub.candidate = note
    node.agent.poll(0)


def test_a_candidate_of_the_log_that_was_read_is_cosigned_once(read):
    note = checkpoint(read)
    show(read, note)
    (line,) = read.hub.cosignatures
    key = CosignerKey(ALPHA, read.silo.identity.signing.public_key())
    assert read_cosignature(note, line, key) == int(read.now.timestamp())
    (event,) = journaled(read)
    assert (event.to, event.digest, event.what) == (
        "hub",
        digest(line.encode()),
        f"checkpoint of {read.hub.tree.size} leaves",
    )
    show(read, merge(note, [line], [key]))
    assert len(read.hub.cosignatures) == 1


def test_a_candidate_smaller_than_what_was_read_needs_a_proof_and_gets_one(read):
    show(read, checkpoint(read, prefix(read, 1)))
    assert len(read.hub.cosignatures) == 1


def test_a_hub_that_hides_the_cosignature_gets_the_same_line_again_also_after_a_restart(read):
    note = checkpoint(read)
    show(read, note)
    read.now += timedelta(seconds=30)
    show(read, note)
    read.restart()
    show(read, note)
    assert len(read.hub.cosignatures) == 3 and len(set(read.hub.cosignatures)) == 1
    assert len(journaled(read)) == 1


def test_a_line_that_did_not_arrive_is_sent_again_as_it_was(read):
    note = checkpoint(read)
    read.hub.refusing = HubUnreachable("the hub does not answer")
    with pytest.raises(HubUnreachable):
        show(read, note)
    read.hub.refusing = None
    (made,) = journaled(read)
    read.restart()
    read.now += timedelta(seconds=30)
    show(read, note)
    assert [digest(line.encode()) for line in read.hub.cosignatures] == [made.digest]


def test_nothing_is_sent_that_the_disk_had_no_room_to_remember_and_a_restart_cosigns_the_same_tree(read, monkeypatch):
    def no_room(memory, cosigned):
        raise sqlite3.OperationalError("database or disk is full")

    note = checkpoint(read)
    with monkeypatch.context() as full:
        full.setattr(WitnessMemory, "remember", no_room)
        with pytest.raises(sqlite3.OperationalError):
            show(read, note)
    assert (len(journaled(read)), read.hub.cosignatures) == (1, [])
    read.restart()
    show(read, note)
    (line,) = read.hub.cosignatures
    assert journaled(read)[-1].digest == digest(line.encode())
    assert {event.what for event in journaled(read)} == {f"checkpoint of {read.hub.tree.size} leaves"}


def test_an_hour_later_the_same_tree_is_cosigned_again(read):
    show(read, checkpoint(read))
    read.now += timedelta(hours=1)
    later = Checkpoint.stamped(ORIGIN, read.hub.tree.head(), charter_digest(charter(read)), read.now)
    show(read, sign_checkpoint(later, ORIGIN, read.hub.group.log))
    assert len(set(read.hub.cosignatures)) == 2


def assert_halts(node, note, reason):
    with pytest.raises(HubDistrusted, match=reason):
        show(node, note)
    assert node.notes[-1].kind == "halt"


def test_another_root_at_the_size_that_was_read_stops_the_silo(read):
    assert_halts(read, checkpoint(read, fork(read, read.hub.tree.size)), "two roots at")
    assert read.hub.cosignatures == []


def test_another_root_at_the_size_that_was_cosigned_stops_the_silo_even_after_the_log_grew(read):
    show(read, checkpoint(read))
    size = read.hub.tree.size
    grow(read)
    assert_halts(read, checkpoint(read, fork(read, size)), f"two roots at {size} leaves")
    assert len(read.hub.cosignatures) == 1


def test_an_older_checkpoint_of_another_log_stops_the_silo(read):
    assert read.hub.tree.size > 2
    assert_halts(read, checkpoint(read, fork(read, 2)), "not one of the log that was read")
    assert read.hub.cosignatures == []


def test_an_older_checkpoint_of_another_log_stops_the_silo_that_cosigned_a_newer_one_of_its_own(read):
    show(read, checkpoint(read))
    assert_halts(read, checkpoint(read, fork(read, 2)), "not one of the log that was read")
    assert len(read.hub.cosignatures) == 1


def test_a_candidate_by_another_key_or_of_another_log_stops_the_silo(read):
    assert_halts(read, checkpoint(read, key=read.hub.group.hub), "no signature by key")
    text = split_note(checkpoint(read))[0].replace(ORIGIN, "another.example/log", 1)
    assert_halts(read, sign_note(text, ORIGIN, read.hub.group.log), "is of log another.example/log")
    assert read.hub.cosignatures == []


@pytest.mark.parametrize("what", ["larger than the view", "another charter"])
def test_a_candidate_that_cannot_be_judged_yet_is_not_cosigned(read, what):
    if what == "another charter":
        note = checkpoint(read, named="0" * 64)
    else:
        note = checkpoint(read, MerkleTree(Nodes(), 0).append([bytes(32)] * (read.hub.tree.size + 1)))
    show(read, note)
    assert (read.hub.cosignatures, journaled(read)) == ([], [])


def test_nothing_smaller_than_what_was_cosigned_is_cosigned_again(read):
    show(read, checkpoint(read))
    show(read, checkpoint(read, prefix(read, 1)))
    assert len(read.hub.cosignatures) == 1
    show(read, checkpoint(read))
    assert set(read.hub.cosignatures[1:]) <= {read.hub.cosignatures[0]}


def test_a_log_that_is_not_read_to_its_end_is_not_cosigned(make_node):
    node = make_node()
    grow(node)
    grow(node)
    node.hub.entries_per_poll = 1
    node.agent.poll(0)
    node.hub.candidate = checkpoint(node)
    node.agent.poll(0)
    assert node.hub.cosignatures == []
    node.agent.poll(0)
    node.agent.poll(0)
    assert len(node.hub.cosignatures) == 1


def test_a_quorum_on_a_checkpoint_that_this_silo_checked_lets_it_work_for_a_day(read):
    note = checkpoint(read)
    assert "seen yet" in may_work(read.silo, charter(read))
    show(read, note)
    assert "seen yet" in may_work(read.silo, charter(read))
    show(read, cosigned_by(read, note, ["alpha", "bravo"]))
    assert "seen yet" in may_work(read.silo, charter(read))
    show(read, cosigned_by(read, note, ["alpha", "bravo", "charlie"]))
    assert may_work(read.silo, charter(read)) is None
    read.restart()
    assert may_work(read.silo, charter(read)) is None
    read.now += MAX_AGE + timedelta(seconds=1)
    assert "3 witnesses must" in may_work(read.silo, charter(read))


def test_a_new_charter_stops_the_work_until_a_quorum_names_it(read):
    show(read, cosigned_by(read, checkpoint(read), ["alpha", "bravo", "charlie"]))
    held = charter(read)
    assert may_work(read.silo, held) is None
    newer = held.model_copy(update={"version": held.version + 1, "previous": charter_digest(held)})
    assert "names the charter in force" in may_work(read.silo, newer)


def test_a_quorum_of_others_on_a_checkpoint_that_this_silo_would_not_sign_is_no_evidence(read):
    show(read, checkpoint(read))
    older = checkpoint(read, prefix(read, 1))
    show(read, cosigned_by(read, older, ["bravo", "charlie", "delta"]))
    assert "seen yet" in may_work(read.silo, charter(read))


def test_a_later_candidate_without_its_quorum_leaves_the_one_that_is_held(read):
    show(read, cosigned_by(read, checkpoint(read), ["alpha", "bravo", "charlie"]))
    read.now += timedelta(hours=1)
    later = Checkpoint.stamped(ORIGIN, read.hub.tree.head(), charter_digest(charter(read)), read.now)
    show(read, sign_checkpoint(later, ORIGIN, read.hub.group.log))
    assert may_work(read.silo, charter(read)) is None


def test_two_silos_shown_two_logs_have_no_quorum_on_either_and_find_out_when_they_compare(make_node):
    """Alpha is shown one log, the three others another of the same size; each signs what it was shown."""
    alpha = make_node()
    alpha.hub.candidate = ""
    grow(alpha)
    alpha.go()
    ours, theirs = checkpoint(alpha), checkpoint(alpha, fork(alpha, alpha.hub.tree.size))
    others = ["bravo", "charlie", "delta"]
    show(alpha, ours)
    # Their cosignatures of the other root are worth nothing on this one.
    stolen = split_note(cosigned_by(alpha, theirs, others))[1][1:]
    show(alpha, ours + "".join(f"{line}\n" for line in stolen))
    assert "seen yet" in may_work(alpha.silo, charter(alpha))
    assert_halts(alpha, cosigned_by(alpha, theirs, others), "two roots at")


def test_a_silo_takes_no_step_before_a_quorum_saw_the_log_and_goes_on_once_it_did(node, peers):
    peers.propose()
    node.hub.candidate = ""
    node.agent.poll(0)
    assert not node.agent.work() and not node.hub.logged(StudyAccepted)
    node.hub.candidate = None
    node.go()
    assert len(node.hub.logged(StudyAccepted)) == 1


def test_a_round_is_not_charged_a_day_after_the_last_quorum_but_the_log_is_still_cosigned(node, peers):
    begin_study(node, peers)
    node.hub.candidate = node.hub.poll(0, 0).candidate
    node.now += MAX_AGE + timedelta(seconds=1)
    peers.open(0)
    node.go()
    assert not node.hub.logged(SpendReserved) and not node.charges()
    sent = len(node.hub.cosignatures)
    node.hub.candidate = None
    node.go()
    assert node.hub.logged(SpendReserved) and len(node.hub.cosignatures) > sent
