"""Whole studies of silo alpha, the other silos moved by the test."""

import base64

import numpy as np
import pytest
from structlog.testing import capture_logs

from protocol.canonical import digest
from protocol.release import release_commitment, release_context
from protocol.round_statements import RoundReady, SpendReserved, SumVerified, UploadComplete
from protocol.rounds import charge_id, last_round
from protocol.sealing.envelope import open_envelope
from protocol.study_statements import ReleaseApproved, ReleaseSealed, SecretSealed, StudyAccepted
from tests.sample_study import contract, contract_values
from tests.unit.silo_node.agent.peers import OTHERS, Peers, vector
from tests.unit.silo_node.agent.story import begin_study, run_round, run_study


@pytest.mark.parametrize("first", ["alpha", "bravo"])
def test_a_silo_goes_through_a_whole_study_and_ends_with_the_same_state_as_the_others(node, peers, first):
    run_study(node, peers, first)
    last = last_round(peers.contract)
    assert peers.record.keying.key_silo == first
    assert node.silo.files.state(peers.study, last) == peers.states[last]
    for index in range(last + 1):
        values = peers.totals[index].size
        plain = node.runner.vectors[index][0] + sum(vector(index, values, name) for name in OTHERS)
        np.testing.assert_allclose(peers.totals[index], plain, rtol=0, atol=4 * peers.steps[index])
        assert len(set(peers.record.rounds[index].macs.values())) == 1
        assert set(peers.record.rounds[index].macs) == {"alpha", *OTHERS}


def test_each_round_is_charged_and_settled_once_and_computed_once(node, peers):
    run_study(node, peers)
    rounds = range(last_round(peers.contract) + 1)
    names = [charge_id(peers.study, index) for index in rounds]
    assert node.charges() == [pair for name in names for pair in (("reserve", name), ("settle", name))]
    assert node.runner.runs == len(names)
    for kind in (SpendReserved, RoundReady, UploadComplete, SumVerified):
        assert [body.round for body in node.hub.logged(kind)] == list(rounds)


def test_which_engine_clipped_and_why_is_logged_once_a_study(node, peers):
    with capture_logs() as logs:
        run_study(node, peers)
    assert [line["study"] for line in logs if line["event"] == "engine=hooks because this is a test"] == [
        peers.study[:12]
    ]


def test_nothing_was_sent_twice_in_a_study_without_trouble(node, peers):
    run_study(node, peers)
    assert len({signed.digest for signed in node.hub.posted}) == len(node.hub.posted)
    assert len(node.hub.logged(StudyAccepted)) == 1
    assert len(node.hub.logged(SecretSealed)) == 3


def test_the_silo_follows_a_log_that_is_handed_out_in_small_pieces(node, peers):
    node.hub.entries_per_poll = 1
    peers.propose()
    peers.accept()
    for _ in range(20):
        node.agent.poll(0)
        node.agent.work()
    assert peers.record.accepted == [*OTHERS, "alpha"]


def test_a_requested_release_is_confirmed_and_sealed_for_its_recipient(node, peers, group):
    run_study(node, peers)
    assert node.hub.logged(ReleaseApproved) == []
    peers.request()
    node.go()
    (word,) = node.hub.logged(ReleaseApproved)
    assert node.hub.logged(ReleaseSealed) == []
    peers.confirm(word.commitment)
    node.go()
    (sealed,) = node.hub.logged(ReleaseSealed)
    blob = node.hub.blobs[sealed.blob]
    assert (sealed.recipient, sealed.size) == ("rosa", len(blob))
    content = open_envelope(blob, group.researcher.receiving.private, release_context(peers.study, "alpha", "rosa"))
    assert release_commitment(content[:32], content[32:]) == word.commitment


def test_a_model_that_was_released_to_everybody_is_removed_with_all_of_its_study_and_not_before(node, peers):
    run_study(node, peers)
    peers.request()
    node.go()
    folder = node.folder / "studies" / peers.study
    (word,) = node.hub.logged(ReleaseApproved)
    assert any(path.name.startswith("state-") for path in folder.iterdir())
    peers.confirm(word.commitment)
    node.go()
    assert len(node.hub.logged(ReleaseSealed)) == 1
    assert not folder.exists()
    assert node.notes[-1].what == "the model was released: it is removed from this silo"
    said, posted = len(node.notes), len(node.hub.posted)
    node.restart()
    node.go()
    assert (len(node.notes), len(node.hub.posted)) == (said, posted)
    assert node.silo.tasks.halted(peers.study) is None


def test_a_silo_that_has_not_confirmed_a_release_keeps_what_it_would_confirm(node, peers):
    run_study(node, peers)
    node.silo.tasks.answer(peers.study, "refuse", "not yet")
    peers.request()
    for silo in ("silo:bravo", "silo:charlie"):
        peers.say(ReleaseApproved, silo, commitment="e" * 64)
    peers.say(ReleaseSealed, "silo:bravo", recipient="rosa", blob="b" * 64, size=9)
    node.go()
    assert peers.record.released_to == {"rosa": "b" * 64}
    assert any(path.name.startswith("state-") for path in (node.folder / "studies" / peers.study).iterdir())


def test_no_model_is_sealed_while_the_silos_confirm_different_ones(node, peers):
    run_study(node, peers)
    peers.request()
    node.go()
    peers.confirm("e" * 64)
    node.go()
    assert node.hub.blobs == {}


def test_a_silo_that_missed_the_upload_catches_up_and_never_seals_that_update_again(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    peers.upload()
    peers.serve()
    node.go()
    assert node.hub.chunks == {}
    assert node.hub.logged(UploadComplete) == []
    peers.unmask(node)
    peers.verify()
    assert node.silo.files.state(peers.study, 0) == peers.states[0]
    peers.close()
    run_round(node, peers, 1)
    assert node.silo.files.state(peers.study, 1) == peers.states[1]
    assert [body.round for body in node.hub.logged(SumVerified)] == [1]


def test_a_voided_round_is_sealed_anew_from_the_same_update_and_charged_no_second_time(node, peers):
    begin_study(node, peers)
    peers.open(0)
    node.go()
    peers.freeze()
    node.go()
    peers.open(0, attempt=2)
    node.go()
    peers.freeze()
    node.go()
    peers.upload()
    peers.serve()
    node.go()
    peers.unmask(node)
    peers.verify()
    assert node.silo.files.state(peers.study, 0) == peers.states[0]
    assert [body.attempt for body in node.hub.logged(RoundReady)] == [1, 2]
    first, second = (node.hub.chunks[0, attempt][0][0] for attempt in (1, 2))
    assert digest(first) != digest(second)
    assert node.runner.runs == 1
    assert len(node.charges()) == 2


def test_keys_of_the_charter_are_those_the_secret_is_sealed_for(node, peers, group):
    peers.propose()
    node.go()
    peers.accept()
    peers.key()
    node.go()
    sealed = {body.recipient: body.envelope for body in node.hub.logged(SecretSealed)}
    assert set(sealed) == set(OTHERS)
    assert len({len(base64.b64decode(one)) for one in sealed.values()}) == 1
    opened = {peers.open_envelope(peers.record, name).to_bytes() for name in OTHERS}
    assert opened == {node.silo.files.secret(peers.study, 1)}


def test_a_round_whose_scale_is_too_small_shows_in_the_journal_and_in_the_log(node):
    narrow = {**contract_values()["sealing"], "training_exponent": -6}
    training = {**contract_values()["training"], "rounds": 1}
    peers = Peers(node.hub, contract(sealing=narrow, training=training))
    with capture_logs() as logs:
        run_study(node, peers)
    updates = [node.runner.vectors[1][0], *(vector(1, 3, name) for name in OTHERS)]
    clipped = sum(int(np.count_nonzero(np.abs(update) > 2.0**-6)) for update in updates)
    assert clipped > 6 and peers.clipped == {0: 0, 1: clipped, 2: 0}
    shares = {line["round"]: line["share"] for line in logs if line["event"] == "clipped"}
    assert shares == {0: 0.0, 1: clipped / 12, 2: 0.0}
    told = [note.what for note in node.notes if "clipped" in note.what]
    assert told == [f"round 1: {clipped / 12:.1%} of all silos' values were clipped"]


def test_rounds_whose_scales_fit_leave_the_journal_alone(node, peers):
    run_study(node, peers)
    assert peers.clipped == {0: 0, 1: 0, 2: 0}
    assert [note.what for note in node.notes if "clipped" in note.what] == []
