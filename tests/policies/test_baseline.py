"""The baseline policy against its verdict table, rule by rule and both ways."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from silo_node.policy.document import policy_by_name
from silo_node.policy.facts import LARGEST, Facts
from silo_node.policy.gate import Approval, Gate, Hold, Refusal

TABLE: list[dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "baseline.yaml").read_text())
VERDICTS = {"approve": Approval, "hold": Hold, "refuse": Refusal}
GATE = Gate(policy_by_name("baseline"))
FactsWith = Callable[[dict[str, Any]], Facts]


@pytest.mark.parametrize("case", TABLE, ids=lambda case: str(case["name"]))
def test_the_baseline_gives_the_verdict_of_the_table(case: dict[str, Any], facts_with: FactsWith) -> None:
    decision = GATE.decide(facts_with(case["change"]))
    assert isinstance(decision, VERDICTS[case["verdict"]]), decision
    if not isinstance(decision, Approval):
        assert decision.rule == case["rule"]
        assert case.get("says", "") in decision.reason
        assert "{" not in decision.reason
    if "further" in case and isinstance(decision, Refusal):
        assert [breach.rule for breach in decision.further] == case["further"]


def test_the_table_has_every_rule_of_the_baseline_both_ways() -> None:
    stopping = {rule.name for rule in GATE.document.rules if rule.effect == "forbid"}
    assert {case["rule"] for case in TABLE if case["verdict"] != "approve"} == stopping
    assert {case["rule"] for case in TABLE if case["verdict"] == "hold"} == {
        rule.name for rule in GATE.document.rules if rule.hold
    }
    approved = [case["change"] for case in TABLE if case["verdict"] == "approve"]
    assert {change.get("action", "accept") for change in approved} == {"accept", "round", "release"}


def test_each_refusal_of_the_table_rests_on_its_rule_alone(facts_with: FactsWith) -> None:
    """So that no rule of the baseline can be dropped without a verdict turning."""
    alone = set()
    for case in TABLE:
        decision = GATE.decide(facts_with(case["change"]))
        if isinstance(decision, Refusal) and not decision.further:
            alone.add(decision.rule)
    assert alone == {rule.name for rule in GATE.document.rules if rule.effect == "forbid" and not rule.hold}


NUMBERS = st.integers(-LARGEST, LARGEST) | st.integers(0, 10)


@settings(deadline=None, max_examples=150)
@given(cost=NUMBERS, remaining=NUMBERS, rest=st.data())
def test_nothing_that_costs_more_than_remains_is_ever_approved(
    cost: int, remaining: int, rest: st.DataObject, facts_with: FactsWith
) -> None:
    action = rest.draw(st.sampled_from(["accept", "round", "release"]))
    switches = {
        name: rest.draw(st.booleans())
        for name in (
            "owner_approved",
            "accepted_here",
            "limits.accepts_within_limits",
            "limits.releases_within_limits",
            "study.approved_by_admin",
            "study.sealed",
        )
    }
    numbers = {name: rest.draw(NUMBERS) for name in ("limits.max_epsilon", "dataset.budget", "study.quorum")}
    facts = facts_with({"action": action, "study.cost": cost, "dataset.remaining": remaining, **switches, **numbers})
    decision = GATE.decide(facts)
    if cost > remaining:
        assert isinstance(decision, Refusal)
        assert "within-budget" in {decision.rule, *(breach.rule for breach in decision.further)} or (
            decision.rule == "policy-error"
        )


@settings(deadline=None, max_examples=100)
@given(granted=st.sets(st.sampled_from("abcdef")), asked=st.sets(st.sampled_from("abcdef"), min_size=1))
def test_no_column_outside_those_granted_is_ever_approved(
    granted: set[str], asked: set[str], facts_with: FactsWith
) -> None:
    facts = facts_with(
        {"limits.columns": sorted(granted), "study.columns": sorted(asked), "dataset.columns": sorted(asked)}
    )
    assert isinstance(GATE.decide(facts), Approval) == (asked <= granted)


def test_an_approval_names_the_policy_the_study_and_what_it_was_decided_on(facts_with: FactsWith) -> None:
    approval = GATE.decide(facts_with({}))
    assert isinstance(approval, Approval)
    assert (approval.action, approval.study) == ("accept", facts_with({}).study_id)
    assert approval.policy == GATE.document.digest
    other = GATE.decide(facts_with({"study.cost": 1}))
    assert isinstance(other, Approval)
    assert approval.facts != other.facts
    assert approval == GATE.decide(facts_with({}))


def test_an_approval_says_whether_a_person_or_the_owners_rule_gave_it(facts_with: FactsWith) -> None:
    by_person = GATE.decide(facts_with({"owner_approved": True}))
    by_rule = GATE.decide(facts_with({"owner_approved": False, "limits.accepts_within_limits": True}))
    assert isinstance(by_person, Approval) and by_person.decided_by == "owner"
    assert isinstance(by_rule, Approval) and by_rule.decided_by == "owner-rule"
