"""A hub that shows something else than what stands in its log, in every place where it could."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.merkle import MerkleTree
from protocol.charter import charter_digest
from protocol.errors import ProtocolError
from protocol.follow import CharterUnseen, advance_follower, begin, checkpoint_size
from protocol.membership_statements import CharterPublished
from protocol.routes import Follow, LoggedEntry
from protocol.signing import sign
from protocol.study_statements import StudyApproved
from protocol.succession import sign_charter
from protocol.translog import Checkpoint, LogEntry, sign_checkpoint
from tests.sample_study import NOW, consortium

GROUP = consortium()


class Nodes(dict):
    def get_nodes(self, places):
        return {place: self[place] for place in places if place in self}

    def put_nodes(self, nodes):
        self.update(nodes)


class Log:
    """An honest log of signed statements, kept in memory, that answers polls."""

    def __init__(self):
        self.tree = MerkleTree(Nodes(), 0)
        self.leaves = []

    def record(self, signed, kind=None):
        body = signed.body
        leaf = LogEntry(
            kind=kind or body.type, digest=signed.digest, issuer=body.issuer, study=getattr(body, "study", None),
            round=None, recorded_at=NOW,
        )  # fmt: skip
        self.tree = self.tree.append([leaf.leaf_hash()])
        self.leaves.append((leaf, signed))
        return signed

    def answer(self, after, upto=None, key=None, charter=None):
        size = self.tree.size
        charters = [signed.body.charter for _, signed in self.leaves if isinstance(signed.body, CharterPublished)]
        newest = charter or charter_digest(charters[-1])
        now = datetime(2026, 11, 22, tzinfo=UTC)
        checkpoint = Checkpoint.stamped("test.example/log", self.tree.head(), newest, now)
        end = size if upto is None else upto
        return Follow(
            checkpoint=sign_checkpoint(checkpoint, "test.example/log", key or GROUP.log),
            consistency=tuple(node.hex() for node in self.tree.consistency_proof(after)) if after < size else (),
            entries=tuple(self.entry(index) for index in range(after, end)),
            next=end,
        )

    def entry(self, index):
        leaf, signed = self.leaves[index]
        proof = tuple(node.hex() for node in self.tree.inclusion_proof(index))
        return LoggedEntry(index=index, leaf=leaf.leaf_bytes().decode(), statement=signed.wire.decode(), proof=proof)


def charter_statement(charter, nonce=0):
    heading = {"issuer": "person:ada", "issued_at": NOW, "nonce": f"{nonce:032x}", "journal_head": None}
    body = CharterPublished(type="charter", **heading, **GROUP.published(charter))
    return sign(body, GROUP.admin.signing)


def approval(number, issuer="person:ada", key=None):
    body = StudyApproved(
        type="study-approved",
        issuer=issuer,
        issued_at=NOW,
        nonce=f"{number:032x}",
        journal_head=None,
        study="a" * 64,
        assertion=None,
    )
    return sign(body, key or GROUP.admin.signing)


@pytest.fixture
def log():
    made = Log()
    founding = GROUP.charter(0)
    made.record(charter_statement(founding))
    made.record(charter_statement(GROUP.charter(4, founding), 1))
    for number in range(5):
        made.record(approval(10 + number))
    return made


@pytest.fixture
def held(log):
    return begin([log.leaves[0][1].wire], charter_digest(GROUP.charter(0)))


def follow(held, answer):
    return advance_follower(held, answer, answer.consistency)


def test_an_honest_log_is_followed_over_several_polls(log, held):
    held, first = follow(held, log.answer(0))
    assert [entry.index for entry in first] == list(range(7))
    assert held.in_force.version == 2
    log.record(approval(99))
    held, second = follow(held, log.answer(7))
    assert [entry.index for entry in second] == [7]
    held, none = follow(held, log.answer(8))
    assert none == []


def test_an_answer_that_was_cut_short_is_gone_on_with_by_a_proof_from_the_view(log, held):
    held, first = follow(held, log.answer(0, upto=3))
    assert (held.next, held.view.size, len(first)) == (3, 7, 3)
    log.record(approval(99))
    answer = log.answer(3)
    proof = tuple(node.hex() for node in log.tree.consistency_proof(7))
    assert checkpoint_size(answer.checkpoint) == 8
    held, rest = advance_follower(held, answer, proof)
    assert [entry.index for entry in rest] == [3, 4, 5, 6, 7]


def test_a_leaf_that_records_an_exchange_is_checked_to_be_in_the_tree_and_tells_nothing(log, held):
    log.record(approval(50), kind="refusal")
    held, entries = follow(held, log.answer(0))
    assert len(entries) == 7
    assert held.next == 8


def changed(answer, **fields):
    return answer.model_copy(update=fields)


def with_entry(answer, place, **fields):
    entries = list(answer.entries)
    entries[place] = entries[place].model_copy(update=fields)
    return changed(answer, entries=tuple(entries))


def test_a_checkpoint_that_names_a_charter_which_the_log_did_not_show_is_refused(log, held):
    with pytest.raises(CharterUnseen):
        follow(held, log.answer(0, charter="e" * 64))
    with pytest.raises(ProtocolError, match="another charter"):
        follow(held, log.answer(0, charter=charter_digest(GROUP.charter(0))))
    assert follow(held, log.answer(0, upto=3, charter=charter_digest(GROUP.charter(0))))[0].next == 3


def rotate(log, key):
    """The log's key is replaced in a third charter, and something is said after it."""
    older = [signed.body.charter for _, signed in log.leaves if isinstance(signed.body, CharterPublished)][-1]
    newer = GROUP.charter(4, older).model_copy(update={"log_key": key.public_key().public_bytes_raw().hex()})
    log.record(charter_statement(newer, 2))
    log.record(approval(50))
    return newer


def test_a_new_log_key_serves_from_the_charter_that_names_it_and_the_old_one_no_more(log, held):
    key = Ed25519PrivateKey.generate()
    before = follow(held, log.answer(0))[0]
    newer = rotate(log, key)
    for known in (held, before):
        assert follow(known, log.answer(known.next, key=key))[0].in_force == newer
        with pytest.raises(ProtocolError):
            follow(known, log.answer(known.next))  # signed with the old key, naming the new charter
    after = follow(before, log.answer(before.next, key=key))[0]
    old = charter_digest(GROUP.charter(4, GROUP.charter(0)))
    with pytest.raises(ProtocolError):
        follow(after, log.answer(after.next, charter=old))  # the old key, naming the charter that it belonged to


def test_a_checkpoint_of_a_charter_beyond_the_answer_is_believed_once_the_charters_were_shown(log, held):
    key = Ed25519PrivateKey.generate()
    newer = rotate(log, key)
    answer = log.answer(0, upto=2, key=key)
    with pytest.raises(CharterUnseen):
        follow(held, answer)
    shown = [signed.wire for _, signed in log.leaves if isinstance(signed.body, CharterPublished)]
    part, _ = advance_follower(held, answer, answer.consistency, shown)
    assert part.next == 2 and part.in_force != newer
    forged = rotate_without_signature(newer)
    with pytest.raises(CharterUnseen):
        advance_follower(
            held, log.answer(0, upto=2, key=key, charter=charter_digest(forged.body.charter)), (), [forged.wire]
        )


def rotate_without_signature(newer):
    """A charter of the hub's own making, which no admin signed."""
    thief = Ed25519PrivateKey.generate()
    third = newer.model_copy(update={"log_key": thief.public_key().public_bytes_raw().hex()})
    heading = {"issuer": "person:ada", "issued_at": NOW, "nonce": "e" * 32, "journal_head": None}
    signatures = (sign_charter(third, "ada", thief),)
    return sign(CharterPublished(type="charter", charter=third, signatures=signatures, **heading), thief)


def test_another_checkpoint_key_is_refused(log, held):
    with pytest.raises(ProtocolError):
        follow(held, log.answer(0, key=Ed25519PrivateKey.generate()))


def test_every_lie_about_an_entry_is_refused_and_the_view_stays(log, held):
    honest = log.answer(0)
    leaf = json.loads(honest.entries[3].leaf)
    lies = [
        with_entry(honest, 3, statement=honest.entries[4].statement),
        with_entry(honest, 3, statement=honest.entries[3].statement.replace("a" * 64, "b" * 64)),
        with_entry(honest, 3, leaf=honest.entries[4].leaf),
        with_entry(honest, 3, leaf=json.dumps(leaf)),
        with_entry(honest, 3, leaf="{}"),
        with_entry(honest, 3, index=4),
        with_entry(honest, 3, index=6),
        with_entry(honest, 3, proof=honest.entries[4].proof),
        with_entry(honest, 3, proof=()),
        changed(honest, entries=honest.entries[::-1]),
        changed(honest, entries=(*honest.entries, honest.entries[-1])),
        changed(honest, next=8),
        changed(honest, next=2),
    ]
    for lie in lies:
        with pytest.raises(ProtocolError):
            follow(held, lie)
    assert follow(held, honest)[0].next == 7


def test_a_log_that_shrank_or_forked_is_refused(log, held):
    held, _ = follow(held, log.answer(0))
    other = Log()
    for number, (_, signed) in enumerate(log.leaves):
        other.record(approval(70) if number == 5 else signed)
    with pytest.raises(ProtocolError):
        follow(held, replace_entries(other.answer(7)))
    other.record(approval(71))
    with pytest.raises(ProtocolError):
        follow(held, other.answer(7))
    shorter = Log()
    for _, signed in log.leaves[:6]:
        shorter.record(signed)
    with pytest.raises(ProtocolError):
        follow(held, changed(shorter.answer(6), next=6))


def replace_entries(answer):
    return changed(answer, entries=())


@pytest.mark.parametrize(
    "statement",
    [
        lambda: approval(60, "person:rosa", GROUP.researcher.signing),
        lambda: approval(61, "person:ada", GROUP.researcher.signing),
        lambda: approval(62, "silo:alpha", GROUP.silos["alpha"].signing),
        lambda: approval(63, "hub", GROUP.hub),
        lambda: charter_statement(consortium().charter(4), 64),
    ],
)
def test_a_logged_statement_by_somebody_who_may_not_say_it_is_refused(log, held, statement):
    log.record(statement())
    with pytest.raises(ProtocolError):
        follow(held, log.answer(0))


def test_a_hub_of_another_consortium_is_not_begun_with(log):
    with pytest.raises(ProtocolError):
        begin([log.leaves[0][1].wire], "f" * 64)
    with pytest.raises(ProtocolError):
        begin([], charter_digest(GROUP.charter(0)))
    assert replace(begin([log.leaves[0][1].wire], charter_digest(GROUP.charter(0))), next=0).charter is None
