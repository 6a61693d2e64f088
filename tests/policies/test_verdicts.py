"""Every shipped policy set against its verdict tables, rule by rule and both ways."""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from policies import catalogue
from silo_node.policy.document import policy_by_name
from silo_node.policy.gate import Approval, Decision, Gate, Hold, Refusal
from silo_node.policy.question import CodeFacts, Facts

HERE = Path(__file__).parent
SETS = catalogue.names()
VERDICTS = {"approve": Approval, "hold": Hold, "refuse": Refusal}
FactsWith = Callable[[dict[str, Any]], Facts]
CodeWith = Callable[[dict[str, Any]], CodeFacts]
Row = dict[str, Any]
Decide = Callable[[str, Row], Decision]


def rows_of(name: str) -> list[Row]:
    own = HERE / f"{name}.yaml"
    rows: list[Row] = yaml.safe_load((HERE / "common.yaml").read_text())
    return rows + (yaml.safe_load(own.read_text()) if own.exists() else [])


TABLE = [(name, row) for name in SETS for row in rows_of(name)]
gate = lru_cache(lambda name: Gate(policy_by_name(name)))


@pytest.fixture(scope="module")
def decide(facts_with: FactsWith, code_with: CodeWith) -> Decide:
    def decided(name: str, row: Row) -> Decision:
        make: Callable[[Row], Facts | CodeFacts] = code_with if row.get("asks") == "code" else facts_with
        return gate(name).decide(make(row["change"]))

    return decided


@pytest.mark.parametrize(("name", "row"), TABLE, ids=[f"{name}: {row['name']}" for name, row in TABLE])
def test_a_shipped_set_gives_the_verdict_of_its_table(name: str, row: Row, decide: Decide) -> None:
    decision = decide(name, row)
    assert isinstance(decision, VERDICTS[row["verdict"]]), decision
    if isinstance(decision, Approval):
        return
    assert decision.rule == row["rule"]
    assert row.get("says", "") in decision.reason
    assert "{" not in decision.reason
    if "further" in row:
        assert [breach.rule for breach in decision.further] == row["further"]


@pytest.mark.parametrize("name", SETS)
def test_every_rule_of_a_shipped_set_stops_something_in_its_table_and_alone(name: str, decide: Decide) -> None:
    """So that no rule can be dropped without a verdict turning. ``ethics-vote`` never stands alone: where it asks a
    person, ``special-category-asked`` does too."""
    stopped = [decision for row in rows_of(name) if not isinstance(decision := decide(name, row), Approval)]
    alone = {decision.rule for decision in stopped if not decision.further}
    beside = {breach.rule for decision in stopped for breach in decision.further} - {"epsilon-cap", "minimum-quorum"}
    assert beside == ({"ethics-vote"} if name == "hospital" else set())
    assert alone | beside == {rule.name for rule in gate(name).document.rules if rule.effect == "forbid"}


@pytest.mark.parametrize("name", SETS)
def test_only_rules_marked_hold_wait_for_a_person_and_they_never_refuse(name: str, decide: Decide) -> None:
    holding = {rule.name for rule in gate(name).document.rules if rule.hold}
    for decision in (decide(name, row) for row in rows_of(name)):
        if isinstance(decision, Hold):
            assert {decision.rule, *(breach.rule for breach in decision.further)} <= holding
        if isinstance(decision, Refusal):
            assert not {decision.rule, *(breach.rule for breach in decision.further)} & holding


@pytest.mark.parametrize("name", SETS)
def test_a_table_has_each_action_and_each_verdict(name: str) -> None:
    approved = {
        "analyse" if row.get("asks") == "code" else row["change"].get("action", "accept")
        for row in rows_of(name)
        if row["verdict"] == "approve"
    }
    assert approved == {"accept", "round", "release", "analyse"}
    assert {row["verdict"] for row in rows_of(name)} == set(VERDICTS)


@pytest.mark.parametrize("name", [name for name in SETS if name != "baseline"])
def test_every_set_holds_the_rules_of_the_baseline_word_for_word(name: str) -> None:
    own = {rule.name: rule.text for rule in gate(name).document.rules}
    assert {rule.name: own.get(rule.name) for rule in gate("baseline").document.rules} == {
        rule.name: rule.text for rule in gate("baseline").document.rules
    }


def test_an_approval_names_the_policy_the_study_and_what_it_was_decided_on(facts_with: FactsWith) -> None:
    approval = gate("baseline").decide(facts_with({}))
    assert isinstance(approval, Approval)
    assert (approval.action, approval.study) == ("accept", facts_with({}).study_id)
    assert approval.policy == gate("baseline").document.digest
    other = gate("baseline").decide(facts_with({"study.cost": 1}))
    assert isinstance(other, Approval)
    assert approval.facts != other.facts
    assert approval == gate("baseline").decide(facts_with({}))


def test_an_approval_says_whether_a_person_or_the_owners_rule_gave_it(facts_with: FactsWith) -> None:
    by_person = gate("baseline").decide(facts_with({"owner_approved": True}))
    by_rule = gate("baseline").decide(facts_with({"owner_approved": False, "limits.accepts_within_limits": True}))
    assert isinstance(by_person, Approval) and by_person.decided_by == "owner"
    assert isinstance(by_rule, Approval) and by_rule.decided_by == "owner-rule"
