"""Whatever goes wrong while a policy is evaluated is a refusal, and never a yes."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import cedarpy
import pytest

from silo_node.errors import PolicyRefused
from silo_node.policy import document
from silo_node.policy.document import PolicyDocument, Rule, parse_policy, policy_by_name
from silo_node.policy.gate import POLICY_ERROR, Approval, Gate, Refusal
from silo_node.policy.question import LARGEST, Facts

FactsWith = Callable[[dict[str, Any]], Facts]
PERMIT = '@id("all") @reason("All.") permit (principal, action, resource);'


def unchecked(text: str, *rules: Rule) -> PolicyDocument:
    """A document that passed none of the checks at load, as after a bug in them."""
    return PolicyDocument("test", text, "0" * 64, rules)


def rule(name: str, effect: str = "permit") -> Rule:
    return Rule(name, effect, "Because.", "it is so", "Change it.", False)


def assert_policy_error(decision: object) -> Refusal:
    assert isinstance(decision, Refusal)
    assert decision.rule == POLICY_ERROR
    assert "nothing is allowed" in decision.reason
    return decision


def test_a_forbid_that_fails_is_a_refusal_where_cedar_itself_says_yes(facts_with: FactsWith) -> None:
    text = PERMIT + (
        '@id("sum") @reason("Too much.") @found("too much") @remedy("Ask for less.")'
        " forbid (principal is Study, action, resource)"
        " when { context.study.epsilon + context.study.delta > context.limits.max_epsilon };"
    )
    gate = Gate(parse_policy(text, "test"))
    facts = facts_with({"study.epsilon": LARGEST, "study.delta": LARGEST})
    raw = cedarpy.is_authorized(
        {
            "principal": {"type": "Study", "id": "s"},
            "action": {"type": "Action", "id": "accept"},
            "resource": {"type": "Dataset", "id": "d"},
            "context": facts.context(),
        },
        text,
        [],
        document.schema(),
    )
    assert raw.allowed, "Cedar skips the forbid that overflows; if it stops doing so, this test may go"
    assert "overflow" in assert_policy_error(gate.decide(facts)).detail


@pytest.mark.parametrize(
    "change",
    [
        {"study.cost": LARGEST + 1},
        {"dataset.remaining": 2**200},
        {"study.epsilon": 1.5},
        {"study.epsilon": True},
        {"study.epsilon": None},
        {"study.epsilon": float("nan")},
        {"study.sealed": 1},
        {"study.unit": None},
        {"study.columns": [1, 2]},
        {"now": "today"},
        {"action": "export"},
        {"study_id": None},
        {"dataset": None},
        {"study.expires_at": -LARGEST},
    ],
    ids=str,
)
def test_a_fact_of_the_wrong_type_or_size_is_a_refusal(change: dict[str, Any], facts_with: FactsWith) -> None:
    decision = Gate(policy_by_name("baseline")).decide(facts_with(change))
    assert_policy_error(decision)


def test_a_missing_fact_is_a_refusal(facts_with: FactsWith, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = facts_with({})
    context = facts.context()
    del context["study"]["cost"]
    monkeypatch.setattr(Facts, "context", lambda self: context)
    assert "cost" in assert_policy_error(Gate(policy_by_name("baseline")).decide(facts)).detail


def test_an_empty_policy_set_is_a_refusal(facts_with: FactsWith) -> None:
    with pytest.raises(PolicyRefused, match="holds no permit"):
        parse_policy("", "empty.cedar")
    assert_policy_error(Gate(unchecked("")).decide(facts_with({})))


@pytest.mark.parametrize(
    "text",
    [
        "permit (principal, action, resource);",
        '@reason("All.") permit (principal, action, resource);',
        '@id("") @reason("All.") permit (principal, action, resource);',
        '@id("other") @reason("All.") permit (principal, action, resource);',
        PERMIT + PERMIT,
        PERMIT + "permit (principal, action, resource);",
        PERMIT + "forbid (principal, action, resource);",
        PERMIT + '@id("all") @reason("No.") forbid (principal, action, resource);',
    ],
)
def test_a_rule_that_cannot_be_told_by_name_is_a_refusal(text: str, facts_with: FactsWith) -> None:
    assert_policy_error(Gate(unchecked(text, rule("all"))).decide(facts_with({})))


def test_a_rule_without_a_reason_is_a_refusal(facts_with: FactsWith) -> None:
    assert_policy_error(Gate(unchecked(PERMIT, replace(rule("all"), reason=""))).decide(facts_with({})))
    assert isinstance(Gate(unchecked(PERMIT, rule("all"))).decide(facts_with({})), Approval)


def test_a_rule_that_cannot_be_put_into_words_is_a_refusal(facts_with: FactsWith) -> None:
    text = PERMIT + '@id("no") @reason("No.") forbid (principal, action, resource);'
    odd = replace(rule("no", "forbid"), found="{nonsense}")
    assert_policy_error(Gate(unchecked(text, rule("all"), odd)).decide(facts_with({})))


@pytest.mark.parametrize("problem", [ValueError("broken"), TypeError("broken"), KeyError("x"), MemoryError()])
def test_an_engine_that_fails_is_a_refusal(
    problem: Exception, facts_with: FactsWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise problem

    gate = Gate(policy_by_name("baseline"))
    monkeypatch.setattr(cedarpy, "is_authorized", fail)
    assert_policy_error(gate.decide(facts_with({})))


@pytest.mark.parametrize(
    "answer",
    [
        {},
        {"decision": "Allow"},
        {"decision": "Allow", "diagnostics": {"reason": [], "errors": []}},
        {"decision": "Allow", "diagnostics": {"reason": ["policy0"], "errors": []}},
        {"decision": "NoDecision", "diagnostics": {"reason": ["policy0"], "errors": []}},
        {
            "decision": "NoDecision",
            "diagnostics": {"reason": ["policy3"], "id_annotations_by_reason": {"policy3": "owner-decides"}},
        },
        {"decision": "Maybe", "diagnostics": {"reason": ["policy0"], "errors": []}},
        {
            "decision": "Allow",
            "diagnostics": {
                "reason": ["policy0"],
                "id_annotations_by_reason": {"policy0": "within-limits"},
                "errors": ["one rule failed"],
            },
        },
        {
            "decision": "Allow",
            "diagnostics": {"reason": ["policy3"], "id_annotations_by_reason": {"policy3": "purpose-allowed"}},
        },
        {
            "decision": "Deny",
            "diagnostics": {"reason": ["policy0"], "id_annotations_by_reason": {"policy0": "within-limits"}},
        },
    ],
)
def test_an_unsound_answer_of_the_engine_is_a_refusal(
    answer: dict[str, Any], facts_with: FactsWith, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate = Gate(policy_by_name("baseline"))
    monkeypatch.setattr(cedarpy, "is_authorized", lambda *_: cedarpy.AuthzResult(answer))
    assert_policy_error(gate.decide(facts_with({})))


def test_a_fault_shows_nothing_of_the_facts_to_others(facts_with: FactsWith) -> None:
    decision = assert_policy_error(
        Gate(policy_by_name("baseline")).decide(facts_with({"study.epsilon": 1.5, "limits.purposes": ["secret"]}))
    )
    assert "secret" not in decision.reason
