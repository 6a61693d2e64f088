"""Each rule by itself, beside the gate's decision on all of them."""

import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from policies import catalogue
from protocol.study import StudyContract
from silo_node.policy import explanation
from silo_node.policy.case import Case
from silo_node.policy.document import PolicyDocument, parse_policy, policy_by_name
from silo_node.policy.explanation import explanation_of
from silo_node.policy.facts import facts_of_study
from silo_node.policy.gate import POLICY_ERROR, Approval, Gate, Hold, Refusal
from silo_node.policy.limits import limits_by_name
from silo_node.policy.question import LARGEST
from silo_node.policy.trial import trials

PERMIT = '@id("all") @reason("All.") permit (principal, action, resource);\n'
NOTES = '@reason("No.") @found("epsilon is {epsilon}") @remedy("Take {max_epsilon}.")'
OVERFLOWS = (
    f'@id("sum") {NOTES} forbid (principal is Study, action, resource)'
    f" when {{ context.study.epsilon + {LARGEST} > 0 }};"
)

ContractWith = Callable[..., StudyContract]
CaseOf = Callable[..., Case]


@pytest.mark.parametrize("name", catalogue.names())
def test_the_rules_one_by_one_come_to_what_they_decide_together(name: str) -> None:
    document = policy_by_name(name)
    gate = Gate(document)
    for trial in list(trials(limits_by_name(name)))[::23]:
        told, decision = explanation_of(document, trial.question), gate.decide(trial.question)
        assert told.decision == decision
        refusing = [one.rule.name for one in told.rules if one.says == "refuses"]
        holding = [one.rule.name for one in told.rules if one.says == "holds"]
        if isinstance(decision, Refusal):
            assert refusing == [decision.rule, *(breach.rule for breach in decision.further)]
        if isinstance(decision, Hold):
            assert (refusing, holding) == ([], [decision.rule, *(breach.rule for breach in decision.further)])
        if isinstance(decision, Approval):
            assert (refusing, holding) == ([], [])
        assert all("{" not in one.found + one.remedy for one in told.rules)


def test_a_rule_that_stands_in_the_way_says_what_it_found_and_what_would_change_it_in_numbers(
    contract_with: ContractWith, case_of: CaseOf
) -> None:
    facts = facts_of_study("accept", case_of(contract_with(epsilon=4.0)))
    told = {one.rule.name: one for one in explanation_of(policy_by_name("baseline"), facts).rules}
    assert told["epsilon-cap"].says == "refuses"
    assert "epsilon is 4, at most 3" in told["epsilon-cap"].found
    assert "at most 3" in told["epsilon-cap"].remedy
    assert (told["delta-cap"].says, told["delta-cap"].found) == ("passes", "")
    assert told["within-limits"].says == "allows"


def test_doing_what_the_remedy_says_lifts_the_rule(contract_with: ContractWith, case_of: CaseOf) -> None:
    facts = facts_of_study("accept", case_of(contract_with(epsilon=4.0)))
    better = replace(facts, study=replace(facts.study, epsilon=facts.limits.max_epsilon))
    told = {one.rule.name: one.says for one in explanation_of(policy_by_name("baseline"), better).rules}
    assert told["epsilon-cap"] == "passes"


def test_a_rule_that_fails_is_told_and_the_decision_is_no(contract_with: ContractWith, case_of: CaseOf) -> None:
    facts = facts_of_study("accept", case_of(contract_with()))
    told = explanation_of(parse_policy(PERMIT + OVERFLOWS, "mine"), facts)
    assert isinstance(told.decision, Refusal) and told.decision.rule == POLICY_ERROR
    assert [one.says for one in told.rules] == ["allows", "fails"]
    assert "overflow" in told.rules[1].found


def test_rules_that_disagree_with_the_decision_make_it_no(contract_with: ContractWith, case_of: CaseOf) -> None:
    """As after a bug: the text that is decided by isn't the one whose rules are told."""
    facts = facts_of_study("accept", case_of(contract_with(epsilon=4.0)))
    stopping = parse_policy(f'{PERMIT}@id("no") {NOTES} forbid (principal is Study, action, resource);', "mine")
    torn = PolicyDocument("mine", PERMIT, "0" * 64, stopping.rules)
    assert isinstance(Gate(torn).decide(facts), Approval)
    told = explanation_of(torn, facts)
    assert isinstance(told.decision, Refusal) and told.decision.rule == POLICY_ERROR


def test_an_engine_without_an_answer_fails_every_rule(
    contract_with: ContractWith, case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    facts = facts_of_study("accept", case_of(contract_with()))
    answer = explanation.cedarpy.AuthzResult({"decision": "NoDecision", "diagnostics": {"reason": [], "errors": []}})
    monkeypatch.setattr(explanation.cedarpy, "is_authorized", lambda *_: answer)
    told = explanation_of(policy_by_name("baseline"), facts)
    assert isinstance(told.decision, Refusal)
    assert {one.says for one in told.rules} == {"fails"}


def test_facts_that_cannot_be_told_to_cedar_refuse(contract_with: ContractWith, case_of: CaseOf) -> None:
    facts = facts_of_study("accept", case_of(contract_with()))
    odd = replace(facts, study=replace(facts.study, epsilon=LARGEST + 1))
    told = explanation_of(policy_by_name("baseline"), odd)
    assert isinstance(told.decision, Refusal) and told.decision.rule == POLICY_ERROR
    assert json.dumps([one.found for one in told.rules])
