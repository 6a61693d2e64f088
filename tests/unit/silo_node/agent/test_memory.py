"""Old copies and strangers: what alpha holds its own files against before it does anything."""

import pytest

from protocol.round_statements import SumVerified
from protocol.study_statements import StudyAccepted
from silo_node.agent.memory import check_journal, check_ledger
from silo_node.errors import JournalDamaged, LedgerDamaged
from tests.unit.silo_node.agent.story import begin_study, run_round


def test_a_statement_under_the_silos_key_that_it_does_not_remember_stops_it(node, peers):
    peers.propose()
    word = {"policy": "1" * 64, "dataset_commitment": "2" * 64, "decided_by": "owner"}
    peers.say(StudyAccepted, "silo:alpha", **word)
    with pytest.raises(JournalDamaged, match="does not remember it"):
        node.go()
    assert node.hub.posted == []
    with pytest.raises(JournalDamaged):
        node.restart().poll(0)


def test_a_whole_folder_that_was_restored_from_before_is_found_out_by_the_log(node, peers):
    begin_study(node, peers)
    node.backup("*.sqlite")
    node.backup("ledger")
    run_round(node, peers, 0)
    node.restore("*.sqlite")
    node.restore("ledger")
    node.start()
    said = len(node.hub.posted)
    with pytest.raises(JournalDamaged, match="restored from an old snapshot"):
        node.go()
    assert len(node.hub.posted) == said


def test_an_older_ledger_is_found_out_and_refunds_nothing(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    node.backup("ledger")
    run_round(node, peers, 1)
    node.restore("ledger")
    with pytest.raises(LedgerDamaged, match="spend-reserved of round 1"):
        node.start()
    with pytest.raises(LedgerDamaged):
        check_ledger(node.silo)


def test_an_older_journal_is_found_out(node, peers):
    begin_study(node, peers)
    node.backup("journal.sqlite")
    run_round(node, peers, 0)
    node.restore("journal.sqlite")
    with pytest.raises(JournalDamaged, match="old backup"):
        node.start()
    with pytest.raises(JournalDamaged):
        check_journal(node.silo)


def test_what_was_kept_is_enough_to_go_on_from_after_a_restart_at_any_round(node, peers):
    begin_study(node, peers)
    for index in range(3):
        run_round(node, peers, index)
        node.restart()
        check_ledger(node.silo)
        check_journal(node.silo)
    assert [body.round for body in node.hub.logged(SumVerified)] == [0, 1, 2]
