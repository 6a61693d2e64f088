"""What the policy is told of code that a researcher brings, and of the day and the node it would run on."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.study import StudyContract
from silo_node.policy.case import Case, CodeCase, holds_as_well
from silo_node.policy.document import policy_by_name
from silo_node.policy.facts import facts_of_analysis, facts_of_study
from silo_node.policy.gate import Approval, Gate, Hold, Refusal
from silo_node.policy.question import LARGEST, hour, weekday

ContractWith = Callable[..., StudyContract]
CaseOf = Callable[..., Case]


def test_code_is_weighed_by_its_columns_its_purpose_and_its_digest(code_case: CodeCase) -> None:
    facts = facts_of_analysis(code_case)
    assert (facts.action, facts.analysis, facts.dataset_name) == ("analyse", code_case.analysis, "heart")
    assert (facts.study.bundle, facts.study.bundle_approved) == (code_case.bundle, False)
    assert facts.study.columns == {"c0", "disease"} == facts.dataset.columns
    assert facts.limits.columns == {"c0", "c1", "disease"}


@pytest.mark.parametrize("name", ["baseline", "hospital", "research"])
def test_code_waits_until_its_digest_and_its_use_are_both_agreed_to(name: str, code_case: CodeCase) -> None:
    gate, agreed = Gate(policy_by_name(name)), replace(code_case.standing, owner_approved=True)
    waiting = gate.decide(facts_of_analysis(code_case))
    assert isinstance(waiting, Hold) and waiting.rule == "code-read"
    assert isinstance(gate.decide(facts_of_analysis(replace(code_case, bundle_approved=True))), Hold)
    assert isinstance(gate.decide(facts_of_analysis(replace(code_case, standing=agreed))), Hold)
    run = gate.decide(facts_of_analysis(replace(code_case, bundle_approved=True, standing=agreed)))
    assert isinstance(run, Approval)
    assert (run.action, run.study, run.decided_by) == ("analyse", code_case.analysis, "owner")


def test_the_approval_of_one_version_of_the_code_names_no_other(code_case: CodeCase) -> None:
    agreed = replace(code_case.standing, owner_approved=True)
    gate = Gate(policy_by_name("baseline"))
    first, second = (
        gate.decide(facts_of_analysis(replace(code_case, bundle=digest, bundle_approved=True, standing=agreed)))
        for digest in ("cd" * 32, "ce" * 32)
    )
    assert isinstance(first, Approval) and isinstance(second, Approval)
    assert first.facts != second.facts


def test_code_on_a_dataset_that_is_not_registered_is_refused(code_case: CodeCase) -> None:
    agreed = replace(code_case.standing, owner_approved=True)
    decision = Gate(policy_by_name("baseline")).decide(
        facts_of_analysis(replace(code_case, held=None, bundle_approved=True, standing=agreed))
    )
    assert isinstance(decision, Refusal) and decision.rule == "dataset-registered"


def test_what_nobody_stated_counts_as_the_worst(contract_with: ContractWith, case_of: CaseOf) -> None:
    case = case_of(contract_with())
    facts = facts_of_study("accept", case)
    assert (facts.sandbox, facts.dataset.sensitivity, facts.study.lead_known) == ("none", "special-category", False)
    assert facts_of_study("accept", replace(case, held=None)).dataset.sensitivity == "special-category"


def test_the_sandbox_and_the_sensitivity_are_told_as_they_are(contract_with: ContractWith, case_of: CaseOf) -> None:
    case = case_of(contract_with())
    assert case.held is not None
    told = replace(case, sandbox="landlock", held=replace(case.held, sensitivity="personal"))
    context = facts_of_study("accept", told).context()
    assert (context["silo"]["sandbox"], context["dataset"]["sensitivity"]) == ("landlock", "personal")


@given(st.integers(0, 4_000_000_000))
def test_the_day_of_the_week_and_the_hour_are_those_of_the_calendar(now: int) -> None:
    day = datetime.fromtimestamp(now, UTC)
    assert (weekday(now), hour(now)) == (day.isoweekday(), day.hour)


@pytest.mark.parametrize(
    ("cost", "budget", "percent"),
    [
        (0, 100, 0),
        (1, 1000, 1),
        (10, 100, 10),
        (101, 1000, 11),
        (250, 100, 250),
        (0, 0, 0),
        (1, 0, LARGEST),
        (LARGEST, 1, LARGEST),
    ],
)
def test_a_share_of_the_budget_is_rounded_up_and_never_overflows(
    cost: int, budget: int, percent: int, contract_with: ContractWith, case_of: CaseOf
) -> None:
    facts = facts_of_study("accept", case_of(contract_with()))
    weighed = replace(facts, study=replace(facts.study, cost=cost), dataset=replace(facts.dataset, budget=budget))
    assert weighed.cost_percent == percent


def test_a_sandbox_holds_as_well_as_one_that_is_no_stronger_and_is_still_known() -> None:
    order = ("none", "landlock", "bubblewrap")
    for place, level in enumerate(order):
        assert [holds_as_well(level, agreed) for agreed in order] == [place >= other for other in range(3)]
        assert not holds_as_well(level, "gvisor")
