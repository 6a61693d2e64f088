"""People who withdraw, and datasets that are renewed: what the owner is told, and what stops."""

import pytest

from silo_node.agent.renewing import renew_dataset
from silo_node.agent.withdrawing import only_domain, parts_of, withdraw_people
from silo_node.dataset.registration import Checked
from silo_node.errors import DatasetRefused
from tests.unit.silo_node.agent.story import begin_study, run_study


def said(node, word):
    return [note.what for note in node.notes if word in note.what]


def test_a_withdrawal_is_journalled_before_and_after_with_the_length_of_the_list_and_no_id(node, peers):
    assert withdraw_people(node.silo, "patients", ["4711", "4712"]) == 2
    assert withdraw_people(node.silo, "patients", ["4711"]) == 0
    before, after = said(node, "opt-outs")
    assert before.startswith("opt-outs of domain patients: to be 2 people, list ")
    assert after == before.replace("to be ", "")
    assert "471" not in after
    assert "opt-outs" not in node.sent


def test_the_owner_is_told_which_studies_a_person_was_part_of(node, peers):
    assert parts_of(node.silo, "patients", "4711") == ()
    run_study(node, peers)
    asked = []

    def trace(task):
        asked.append(task)
        return ("held out",)

    node.runner.trace = trace
    (part,) = parts_of(node.silo, "patients", "4711")
    assert (part.record.study, part.found) == (peers.study, "held out")
    share = part.record.contract.evaluation.test_share
    assert [(one.person, one.dataset, one.test_shares) for one in asked] == [("4711", "heart", (share,))]
    node.runner.trace = lambda task: ("absent",)
    assert parts_of(node.silo, "patients", "4711") == ()


def test_a_domain_that_is_not_there_is_refused_naming_those_that_are(node, peers):
    assert only_domain(node.silo, None) == "patients"
    with pytest.raises(DatasetRefused, match="name one of: patients"):
        only_domain(node.silo, "staff")


def test_a_study_accepted_before_a_renewal_halts_and_says_why(node, peers):
    begin_study(node, peers)
    node.runner.check = lambda registration: Checked("b" * 64, 100, {})
    renew_dataset(node.silo, "heart")
    assert len(said(node, f"owner: renew dataset heart, commitment {'b' * 64}")) == 1
    peers.open(0)
    node.go()
    halted = node.silo.tasks.halted(peers.study)
    assert halted is not None
    assert "was renewed on 2026-11-22" in halted
    assert node.runner.runs == 0
