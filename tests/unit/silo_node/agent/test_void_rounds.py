"""Rounds of which nothing counts: what alpha makes of them, when it pauses, and how it goes on."""

import pytest

from protocol.accounting import epsilon_at
from protocol.round_statements import (
    RoundOpened,
    RoundReady,
    SumVerified,
    UploadComplete,
    VerificationFailed,
)
from protocol.rounds import charge_id, last_round
from protocol.study import study_cost
from protocol.study_statements import SecretCommitment, StudyPaused, StudyResumed
from tests.sample_study import SILOS, contract, contract_values
from tests.unit.silo_node.agent.peers import DUE, OTHERS, Peers
from tests.unit.silo_node.agent.story import begin_study, key_again, run_round, serve_round, void_round
from tests.unit.silo_node.agent.test_crashes import Mortal, assert_said_in_one_version
from tests.unit.silo_node.agent.test_lies import assert_silent, flipped, halted


@pytest.fixture
def long():
    """A study of four training rounds."""
    return contract(training={**contract_values()["training"], "rounds": 4})


@pytest.fixture
def peers(node, long):
    return Peers(node.hub, long)


def at_training(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)


def two_void_rounds(node, peers):
    at_training(node, peers)
    void_round(node, peers, 1)
    key_again(node, peers)
    void_round(node, peers, 2)


def state(node, peers, index):
    return node.silo.files.state(peers.study, index)


def test_a_void_round_leaves_the_state_as_it_was_and_the_study_goes_on_under_another_key(node, peers):
    at_training(node, peers)
    before = state(node, peers, 0)
    void_round(node, peers, 1)
    assert state(node, peers, 1) == before
    key_again(node, peers)
    first, second = (node.silo.secret(peers.study, epoch) for epoch in (1, 2))
    assert (first == second, second == peers.secret) == (False, True)
    for index in range(2, last_round(peers.contract) + 1):
        run_round(node, peers, index)
    last = last_round(peers.contract)
    assert (state(node, peers, last), halted(node, peers)) == (peers.states[last], None)
    assert [body.round for body in node.hub.logged(VerificationFailed)] == [1]


def test_each_round_is_charged_once_the_void_one_too_and_its_update_is_sealed_once(node, peers):
    at_training(node, peers)
    void_round(node, peers, 1)
    key_again(node, peers)
    run_round(node, peers, 2)
    names = [charge_id(peers.study, index) for index in range(3)]
    assert node.charges() == [pair for name in names for pair in (("reserve", name), ("settle", name))]
    assert [body.round for body in node.hub.logged(UploadComplete)] == [0, 1, 2]
    assert all(len(made) == 1 for made in node.runner.vectors.values())


def test_what_a_void_round_and_its_key_left_behind_is_removed_once_the_next_round_closed(node, peers):
    at_training(node, peers)
    void_round(node, peers, 1)
    key_again(node, peers)
    run_round(node, peers, 2)
    peers.open(3)
    node.go()
    folder = node.folder / "studies" / peers.study
    assert sorted(path.name for path in folder.iterdir()) == ["round-3", "secret-2", "state-2"]


def test_a_total_that_was_applied_before_its_round_was_void_is_taken_back(node, peers):
    at_training(node, peers)
    before = state(node, peers, 0)
    serve_round(node, peers, 1)
    peers.unmask(node)
    assert state(node, peers, 1) != before
    assert [body.round for body in node.hub.logged(SumVerified)] == [0, 1]
    peers.fail("bravo", "charlie")
    peers.void()
    node.go()
    assert state(node, peers, 1) == before
    key_again(node, peers)
    run_round(node, peers, 2)
    assert state(node, peers, 2) == peers.states[2]


def test_a_total_that_was_applied_is_taken_back_also_by_a_silo_that_slept_through_the_next_opening(node, peers):
    at_training(node, peers)
    serve_round(node, peers, 1)
    peers.unmask(node)
    peers.fail("bravo", "charlie")
    peers.void()
    key_again(node, peers)
    peers.open(2)
    node.restart()
    node.go()
    assert state(node, peers, 1) == state(node, peers, 0) or state(node, peers, 0) is None
    assert [body.round for body in node.hub.logged(RoundReady)] == [0, 1, 2]
    assert halted(node, peers) is None


def test_after_two_void_rounds_a_silo_pauses_and_charges_nothing_more(node, peers):
    two_void_rounds(node, peers)
    charges, runs = node.charges(), node.runner.runs
    (word,) = node.hub.logged(StudyPaused)
    assert word.reason == "2 rounds with updates of this silo came to nothing"
    key_again(node, peers)
    peers.open(3, silos=OTHERS)
    node.go()
    assert (node.charges(), node.runner.runs, halted(node, peers)) == (charges, runs, None)
    assert [body.epoch for body in node.hub.logged(SecretCommitment)] == [1, 2, 3]


def test_a_paused_silo_is_charged_for_no_round_that_the_hub_opens_for_it_all_the_same(node, peers):
    two_void_rounds(node, peers)
    charges = node.charges()
    key_again(node, peers)
    peers.say(RoundOpened, round=3, attempt=1, silos=SILOS, due_at=DUE)
    node.go()
    assert node.charges() == charges
    assert "rule 5" in halted(node, peers)


def test_a_paused_silo_follows_the_others_and_takes_part_again_when_its_owner_says_so(node, peers):
    two_void_rounds(node, peers)
    key_again(node, peers)
    run_round(node, peers, 3, silos=OTHERS)
    assert state(node, peers, 3) == peers.states[3]
    node.silo.tasks.resume(peers.study, 1)
    node.restart()
    node.go()
    assert len(node.hub.logged(StudyResumed)) == 1
    run_round(node, peers, 4)
    assert [body.round for body in node.hub.logged(UploadComplete)] == [0, 1, 2, 4]
    assert state(node, peers, 4) == peers.states[4]


def test_an_owners_word_ends_one_pause_and_not_the_next(node, peers):
    two_void_rounds(node, peers)
    node.silo.tasks.resume(peers.study, 1)
    node.go()
    key_again(node, peers)
    void_round(node, peers, 3)
    assert len(node.hub.logged(StudyPaused)) == 1, "the count begins anew"
    key_again(node, peers)
    void_round(node, peers, 4)
    node.restart()
    node.go()
    assert (len(node.hub.logged(StudyPaused)), len(node.hub.logged(StudyResumed))) == (2, 1)
    assert peers.record.paused == {"alpha"}


def test_a_hub_that_voids_one_round_after_the_other_gets_two_rounds_of_the_ledger(make_node, long):
    cost = study_cost(long, "alpha", 4)
    node = make_node(epsilon=epsilon_at(cost, 0.001, 4) * 1.0001)
    peers = Peers(node.hub, long)
    two_void_rounds(node, peers)
    spent = node.silo.ledger.balance("patients").spent_picos
    for _ in range(3):
        node.restart()
        node.go()
    key_again(node, peers)
    node.go()
    assert node.silo.ledger.balance("patients").spent_picos == spent
    assert [name for kind, name in node.charges() if kind == "reserve"] == [
        charge_id(peers.study, at) for at in (0, 1, 2)
    ]


def test_a_silo_blamed_by_enough_is_out_and_the_others_go_on_without_it(node, peers):
    at_training(node, peers)
    serve_round(node, peers, 1)
    peers.fail("bravo", "charlie", blamed=("delta",))
    peers.void(suspended=("delta",))
    node.go()
    key_again(node, peers)
    three = SILOS[:3]
    run_round(node, peers, 2, silos=three)
    assert (peers.record.suspended, state(node, peers, 2)) == ({"delta"}, peers.states[2])


def test_a_hub_that_puts_out_a_silo_nobody_blamed_halts_the_study(node, peers):
    at_training(node, peers)
    serve_round(node, peers, 1)
    peers.fail("bravo")
    peers.void(suspended=("delta",))
    node.go()
    assert "rule 9" in halted(node, peers)
    assert_silent(node, peers)


def test_a_hub_that_goes_on_under_the_key_of_a_void_round_halts_the_study(node, peers):
    at_training(node, peers)
    void_round(node, peers, 1)
    runs = node.runner.runs
    peers.say(RoundOpened, round=2, attempt=1, silos=SILOS, due_at=DUE)
    node.go()
    assert ("rule 3" in halted(node, peers), node.runner.runs) == (True, runs)


def test_shares_that_may_still_come_are_waited_for_but_not_beyond_half_of_the_time(node, peers):
    """Three of four reveal, one of them wrong shares: the fourth could still mend the sum."""
    at_training(node, peers)
    serve_round(node, peers, 1)
    peers.sign("bravo", "charlie")
    node.go()
    peers.reveal("bravo")
    peers.reveal("charlie", changed=lambda shares: [flipped(share, 5) for share in shares])
    node.go()
    assert node.hub.logged(VerificationFailed) == []
    node.now = node.now.replace(hour=19)
    node.go()
    (told,) = node.hub.logged(VerificationFailed)
    assert (told.cause, told.blamed) == ("masks", ("charlie",))


def test_a_silo_that_dies_behind_every_step_of_void_rounds_and_pauses_goes_on_as_if_it_had_not(
    node, peers, monkeypatch
):
    mortal = Mortal(node, monkeypatch)
    two_void_rounds(mortal, peers)
    node.silo.tasks.resume(peers.study, 1)
    mortal.go()
    key_again(mortal, peers)
    for index in (3, 4, 5):
        run_round(mortal, peers, index)
    assert state(node, peers, 5) == peers.states[5]
    assert_said_in_one_version(node.hub)
    names = [charge_id(peers.study, index) for index in range(6)]
    assert node.charges() == [pair for name in names for pair in (("reserve", name), ("settle", name))]
    assert {"write secret-2", "write secret-3", "record study-paused", "record study-resumed"} <= set(mortal.deaths)
