"""A hub, or another silo, that says what it may not: what alpha does then, and what it never does."""

import pytest

from protocol.charter import charter_digest
from protocol.membership_statements import CharterPublished
from protocol.round_statements import (
    RoundClosed,
    RoundOpened,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.sealing import bfv
from protocol.sealing.secret import StudySecret
from protocol.study_statements import SecretCommitment, StudyApproved, StudyObjected, StudyWithdrawn
from protocol.succession import sign_charter
from silo_node.errors import HubDistrusted, HubRefused
from tests.sample_study import SILOS
from tests.unit.silo_node.agent.peers import DUE, OTHERS
from tests.unit.silo_node.agent.story import begin_study, run_round


def flipped(chunk, place=100):
    """``chunk`` with the lowest bit of one byte changed."""
    return chunk[:place] + bytes([chunk[place] ^ 1]) + chunk[place + 1 :]


def halted(node, peers):
    return node.silo.tasks.halted(peers.study)


def assert_silent(node, peers):
    """Whatever the log brings now, alpha says nothing more."""
    before = len(node.hub.posted), sum(map(len, node.hub.chunks.values()))
    node.go()
    node.restart()
    node.go()
    assert before == (len(node.hub.posted), sum(map(len, node.hub.chunks.values())))


def begin_with_bravos_key(node, peers):
    peers.propose()
    peers.accept()
    node.go()
    peers.key()
    node.go()
    peers.secret = StudySecret.generate()


def test_a_checkpoint_that_names_a_charter_which_was_not_shown_ends_all_trust(node, peers):
    peers.propose()
    node.hub.named_charter = "e" * 64
    with pytest.raises(HubDistrusted, match="does not verify"):
        node.go()
    (note,) = node.notes
    assert (note.kind, note.study) == ("halt", None)
    assert "does not follow from what was shown" in note.what
    assert node.hub.posted == []
    assert node.silo.tasks.follower() is None


def test_under_an_expired_charter_nothing_is_done_at_all(node, peers):
    peers.propose()
    node.now = node.now.replace(year=2030, month=1, day=1, hour=0, minute=0, second=0)
    node.go()
    assert (node.hub.posted, node.notes, node.runner.runs) == ([], [], 0)
    assert peers.study in {record.study for record in node.hub.studies.records.values()}


def test_a_running_study_stands_still_when_the_charter_expires(node, peers):
    begin_study(node, peers)
    peers.open(0)
    said = len(node.hub.posted)
    node.now = node.now.replace(year=2031)
    node.go()
    assert (len(node.hub.posted), node.runner.runs, node.charges()) == (said, 0, [])


def test_another_key_than_the_key_silo_committed_to_halts_the_study(node, peers):
    begin_with_bravos_key(node, peers)
    peers.seal_secret("alpha")
    node.go()
    peers.commit("bravo", StudySecret.generate())
    node.go()
    assert "bravo committed to another study key" in halted(node, peers)
    assert len(node.hub.logged(StudyWithdrawn)) == 1
    assert_silent(node, peers)


def test_a_round_opened_over_different_keys_is_not_taken_part_in(node, peers):
    peers.propose()
    node.go()
    peers.accept()
    peers.key()
    node.go()
    peers.secret = peers.open_envelope(peers.record, "bravo")
    peers.commit("bravo")
    peers.commit("charlie")
    peers.commit("delta", StudySecret.generate())
    node.go()
    peers.open(0)
    node.go()
    assert "hold different keys" in halted(node, peers)
    assert (node.runner.runs, node.charges()) == (0, [])


@pytest.mark.parametrize(
    "lie", [{"owner": "charlie"}, {"context": "charlie"}, {"owner": "charlie", "context": "charlie"}]
)
def test_a_secret_that_was_sealed_for_another_silo_does_not_open(node, peers, lie):
    begin_with_bravos_key(node, peers)
    peers.seal_secret("alpha", **lie)
    node.go()
    assert "does not open for this silo" in halted(node, peers)
    assert node.silo.files.secret(peers.study, 1) is None
    assert node.hub.logged(SecretCommitment) == []
    assert_silent(node, peers)


def test_a_sum_with_one_bit_flipped_is_told_and_never_decrypted(node, peers, monkeypatch):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve(flipped)
    decrypted = []
    monkeypatch.setattr(bfv.Cipher, "decrypt", lambda *given: decrypted.append(given))
    node.go()
    assert decrypted == []
    (told,) = node.hub.logged(VerificationFailed)
    assert (told.round, told.sum) == (0, peers.record.current.served_digest)
    assert (halted(node, peers), node.silo.tasks.sum_distrusted(peers.study, 0)) == (None, True)
    assert node.hub.logged(SumVerified) == []
    assert node.silo.files.state(peers.study, 0) is None
    assert_silent(node, peers)


def test_a_forged_sum_is_never_looked_at_again_though_the_hub_does_not_take_the_word_for_it(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve(flipped)
    node.hub.refusing = HubRefused("verification-failed: silo alpha is not part of round 0 attempt 1", 403)
    node.go()
    assert node.silo.tasks.sum_distrusted(peers.study, 0)
    notes, fetched = len(node.notes), len(node.hub.fetched)
    node.restart()
    node.go()
    assert (len(node.notes), len(node.hub.fetched), halted(node, peers)) == (notes, fetched, None)


def test_a_silo_leaves_a_study_that_goes_on_from_a_sum_that_does_not_verify_there(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve(flipped)
    node.go()
    peers.sign()
    peers.reveal()
    for name in OTHERS:
        word = {"sum": peers.record.current.served_digest, "state_mac": "5" * 64}
        peers.say(SumVerified, f"silo:{name}", round=0, attempt=1, **word)
    peers.say(RoundClosed, round=0, attempt=1, agreed=OTHERS, suspended=("alpha",))
    node.go()
    assert "doesn't verify here" in halted(node, peers)
    assert node.silo.files.state(peers.study, 0) is None
    assert_silent(node, peers)


@pytest.mark.parametrize("place", [0, 20_000, -1])
def test_a_flipped_bit_is_found_wherever_it_is(node, peers, monkeypatch, place):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve(lambda chunk: flipped(chunk, place % len(chunk)))
    monkeypatch.setattr(bfv.Cipher, "decrypt", lambda *given: pytest.fail("decrypted"))
    node.go()
    assert len(node.hub.logged(VerificationFailed)) == 1


def test_a_sum_chunk_other_than_the_one_the_hub_signed_for_ends_all_trust(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    honest = node.hub.sums[0, 1]
    node.hub.sums[0, 1] = [flipped(chunk) for chunk in honest]
    with pytest.raises(HubDistrusted, match="not what the hub signed for"):
        node.go()
    assert node.notes[-1].kind == "halt"
    node.hub.sums[0, 1] = honest
    node.restart()
    node.go()
    assert len(node.hub.logged(SurvivorsSigned)) == 1


def test_a_second_total_of_a_round_breaks_a_rule_and_halts_the_study(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    peers.open(1)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    node.go()
    served = peers.record.current.served
    lesser = {"survivors": OTHERS, "chunks": served.chunks, "due_at": DUE}
    peers.say(SumServed, round=1, attempt=1, **lesser)
    node.go()
    assert "served twice" in halted(node, peers)
    assert len(node.hub.fetched) == 2
    assert_silent(node, peers)


def test_a_total_having_been_served_no_further_attempt_gets_an_update(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    node.go()
    peers.say(RoundOpened, round=0, attempt=2, silos=SILOS, due_at=DUE)
    node.go()
    assert "out of order" in halted(node, peers)
    assert [body.attempt for body in node.hub.logged(UploadComplete)] == [1]
    assert list(node.hub.chunks) == [(0, 1)]


def test_a_round_is_not_begun_on_a_state_that_no_quorum_reached(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    node.go()
    peers.unmask(node)
    for name in OTHERS:
        word = {"sum": peers.record.current.served_digest, "state_mac": "5" * 64}
        peers.say(SumVerified, f"silo:{name}", round=0, attempt=1, **word)
    peers.say(RoundClosed, round=0, attempt=1, agreed=OTHERS, suspended=())
    runs = node.runner.runs
    peers.open(1)
    node.go()
    assert "fewer than a quorum" in halted(node, peers)
    assert node.runner.runs == runs


def test_a_charter_that_no_admin_signed_is_not_followed(node, group):
    charters = [signed.body.charter for _, signed in node.hub.leaves if isinstance(signed.body, CharterPublished)]
    newer = group.charter(3, charters[-1])
    forged = sign_charter(newer, group.admin.name, group.researcher.signing)
    node.hub.named_charter = charter_digest(charters[-1])
    node.hub.say(CharterPublished, "person:ada", charter=newer, signatures=(forged,))
    with pytest.raises(HubDistrusted, match="no admin's key verifies"):
        node.go()
    assert node.notes[-1].kind == "halt"


@pytest.mark.parametrize("elsewhere", [False, True])
def test_a_hub_that_only_says_it_recorded_what_a_silo_said_is_found_out_at_the_next_poll(node, peers, elsewhere):
    peers.propose()
    node.agent.poll(0)
    node.hub.pretending = True
    assert node.agent.work()
    if elsewhere:  # another statement stands where this silo's was said to be
        node.hub.say(RoundOpened, study=peers.study, round=0, attempt=1, silos=SILOS, due_at=DUE)
    with pytest.raises(HubDistrusted, match="its log does not hold it there"):
        node.agent.poll(0)
    assert node.notes[-1].kind == "halt"


def revoke(node, group, members):
    charters = [signed.body.charter for _, signed in node.hub.leaves if isinstance(signed.body, CharterPublished)]
    node.hub.say(CharterPublished, "person:ada", **group.published(group.charter(members, charters[-1])))


def test_a_revoked_silo_has_no_part_in_what_comes_after(node, peers, group):
    begin_study(node, peers)
    revoke(node, group, 3)
    assert peers.record.gone == {SILOS[3]} and peers.record.needs_key
    peers.say(RoundOpened, round=0, attempt=1, silos=SILOS[:3], due_at=DUE)
    node.go()
    assert "before another key was shared" in halted(node, peers)
    assert node.runner.runs == 0


def test_an_objection_stops_a_study_before_its_next_round_and_a_new_approval_lets_it_go_on(node, peers):
    begin_study(node, peers)
    peers.open(0)
    peers.say(StudyObjected, "person:ada", reason="the purpose has changed", assertion=None)
    node.go()
    assert (node.runner.runs, node.charges()) == (0, [])
    peers.say(StudyApproved, "person:ada", assertion=None)
    node.go()
    assert node.runner.runs == 1


def test_a_round_opened_while_too_few_admins_approve_halts_the_study(node, peers):
    begin_study(node, peers)
    peers.say(StudyObjected, "person:ada", reason="no", assertion=None)
    peers.open(0)
    node.go()
    assert "while too few admins approve" in halted(node, peers)
    assert node.runner.runs == 0
