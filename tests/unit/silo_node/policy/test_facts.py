from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.accounting import cost_of
from protocol.errors import Malformed
from protocol.ids import timestamp
from protocol.rounds import last_round, round_events
from protocol.study import StudyContract, study_cost, study_id
from silo_node.ledger.budget import Balance, PrivacyDomain
from silo_node.policy import facts as facts_module
from silo_node.policy.case import Case, Standing
from silo_node.policy.document import policy_by_name
from silo_node.policy.facts import facts_of_round, facts_of_study, scaled
from silo_node.policy.gate import Approval, Gate, Hold, Refusal
from silo_node.policy.limits import OwnerLimits
from silo_node.policy.question import LARGEST, MICRO
from tests.sample_statistics import statistics

ContractWith = Callable[..., StudyContract]
CaseOf = Callable[..., Case]


def test_the_facts_say_what_the_contract_says(contract_with: ContractWith, case_of: CaseOf) -> None:
    contract = contract_with()
    facts = facts_of_study("accept", case_of(contract))
    assert facts.study_id == study_id(contract)
    assert (facts.study.epsilon, facts.study.delta) == (3_000_000, 10_000_000)
    assert facts.study.columns == {"c0", "c1", "disease"} == facts.dataset.columns == facts.limits.columns
    assert (facts.study.silos, facts.study.quorum, facts.study.approvals) == (4, 3, 2)
    assert timestamp(datetime.fromtimestamp(facts.study.expires_at, UTC)) == contract.expires_at
    assert facts.limits.recipients == {"rosa", "adam"}


def test_a_study_is_weighed_at_its_whole_cost_and_the_domains_own_order(
    contract_with: ContractWith, case_of: CaseOf
) -> None:
    case = case_of(contract_with())
    assert case.held is not None
    order = case.held.balance.domain.order
    assert order != case.contract.privacy.order
    assert facts_of_study("accept", case).study.cost == study_cost(case.contract, "mercy", order)
    assert facts_of_study("release", case).study.cost == 0


def test_the_rounds_cost_together_what_the_study_costs(contract_with: ContractWith, case_of: CaseOf) -> None:
    case = case_of(contract_with())
    rounds = [facts_of_round(case, index, 3, False) for index in range(last_round(case.contract) + 1)]
    assert sum(one.study.cost for one in rounds) == facts_of_study("accept", case).study.cost
    assert {one.study.silos for one in rounds} == {3}
    assert rounds[1].study.cost == cost_of(round_events(case.contract, "mercy", 1), case.order)


def test_a_round_that_is_charged_already_costs_nothing_more(contract_with: ContractWith, case_of: CaseOf) -> None:
    assert facts_of_round(case_of(contract_with()), 1, 3, True).study.cost == 0


def test_a_dataset_that_is_not_registered_grants_nothing(contract_with: ContractWith, case_of: CaseOf) -> None:
    case = replace(case_of(contract_with()), held=None)
    facts = facts_of_study("accept", case)
    assert not facts.dataset.registered
    assert facts.dataset.columns == facts.limits.columns == frozenset()
    decision = Gate(policy_by_name("baseline")).decide(facts)
    assert isinstance(decision, Refusal) and decision.rule == "dataset-registered"


def test_another_dataset_than_the_contracts_cannot_be_judged(contract_with: ContractWith, case_of: CaseOf) -> None:
    case = case_of(contract_with())
    assert case.held is not None
    with pytest.raises(ValueError, match="lungs isn't the contract's heart"):
        replace(case, held=replace(case.held, name="lungs"))


def test_a_column_of_another_kind_counts_as_missing(contract_with: ContractWith, case_of: CaseOf) -> None:
    case = case_of(contract_with())
    assert case.held is not None
    first, *others = case.held.columns
    held = replace(case.held, columns=(first.model_copy(update={"kind": "binary"}), *others))
    decision = Gate(policy_by_name("baseline")).decide(facts_of_study("accept", replace(case, held=held)))
    assert isinstance(decision, Refusal) and decision.rule == "columns-registered"
    assert "kind: c0." in decision.reason


def test_a_silo_that_the_contract_does_not_name_cannot_judge_it(contract_with: ContractWith, case_of: CaseOf) -> None:
    with pytest.raises(Malformed, match="stranger"):
        facts_of_study("accept", replace(case_of(contract_with()), silo="stranger"))


def test_a_recipient_must_be_in_the_charter_even_if_the_owner_names_them(
    contract_with: ContractWith, case_of: CaseOf
) -> None:
    limits = OwnerLimits(recipients=("rosa", "eve"))
    assert facts_of_study("accept", case_of(contract_with(), limits=limits)).limits.recipients == {"rosa"}


def test_empty_limits_refuse_every_part_of_a_study(contract_with: ContractWith, case_of: CaseOf) -> None:
    decision = Gate(policy_by_name("baseline")).decide(
        facts_of_study("accept", case_of(contract_with(), limits=OwnerLimits()))
    )
    assert isinstance(decision, Refusal)
    broken = {decision.rule, *(breach.rule for breach in decision.further)}
    assert broken == {"purpose-allowed", "recipients-known", "columns-granted", "epsilon-cap", "delta-cap"}


def test_a_study_is_held_then_accepted_then_its_rounds_go_by_themselves(
    contract_with: ContractWith, case_of: CaseOf
) -> None:
    gate, case = Gate(policy_by_name("baseline")), case_of(contract_with())
    asked = gate.decide(facts_of_study("accept", case))
    assert isinstance(asked, Hold) and asked.rule == "owner-decides"
    said_yes = replace(case, standing=replace(case.standing, owner_approved=True))
    assert isinstance(gate.decide(facts_of_study("accept", said_yes)), Approval)
    taking_part = replace(case, standing=replace(case.standing, accepted_here=True))
    assert isinstance(gate.decide(facts_of_round(taking_part, 1, 4, False)), Approval)
    released = gate.decide(facts_of_study("release", taking_part))
    assert isinstance(released, Hold) and released.rule == "owner-releases"


def test_a_study_over_what_is_left_is_refused_with_both_numbers(contract_with: ContractWith, case_of: CaseOf) -> None:
    contract = contract_with()
    whole = case_of(contract)
    assert whole.held is not None
    cost = facts_of_study("accept", whole).study.cost
    cap = whole.held.balance.domain.cap_picos
    gate = Gate(policy_by_name("baseline"))
    assert isinstance(gate.decide(facts_of_study("accept", case_of(contract, spent=cap - cost))), Hold)
    over = gate.decide(facts_of_study("accept", case_of(contract, spent=cap - cost + 1)))
    assert isinstance(over, Refusal) and over.rule == "within-budget"
    assert "% of the dataset's privacy budget" in over.reason


def test_a_cost_beyond_cedars_numbers_never_looks_like_one_that_fits(
    contract_with: ContractWith, case_of: CaseOf, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Rich(Balance):
        @property
        def remaining_picos(self) -> int:
            return LARGEST + 5

    case = case_of(contract_with())
    assert case.held is not None
    domain = PrivacyDomain.at_best_order("patients", "record", 8.0, 1e-5)
    case = replace(case, held=replace(case.held, balance=Rich(domain, 0, 0)))
    monkeypatch.setattr(facts_module, "study_cost", lambda *_: LARGEST + 10)
    facts = facts_of_study("accept", case)
    assert facts.study.cost == LARGEST
    assert facts.dataset.remaining == LARGEST - 1
    decision = Gate(policy_by_name("baseline")).decide(facts)
    assert isinstance(decision, Refusal) and decision.rule == "within-budget"


def test_a_study_just_over_a_cap_is_not_rounded_under_it(contract_with: ContractWith, case_of: CaseOf) -> None:
    contract = contract_with(epsilon=2.9999999, delta=1.00000009e-5)
    limits = OwnerLimits(max_epsilon=2.9999998, max_delta=1.00000008e-5)
    facts = facts_of_study("accept", case_of(contract, limits=limits))
    assert (facts.study.epsilon, facts.limits.max_epsilon) == (3_000_000, 2_999_999)
    assert (facts.study.delta, facts.limits.max_delta) == (10_000_001, 10_000_000)


@settings(deadline=None, max_examples=200)
@given(value=st.floats(0, 100), scale=st.sampled_from([MICRO, 10**12]))
def test_what_is_asked_is_rounded_up_and_what_is_allowed_down(value: float, scale: int) -> None:
    asked, allowed = scaled(value, scale, ROUND_CEILING), scaled(value, scale, ROUND_FLOOR)
    assert allowed <= Decimal(repr(value)) * scale <= asked <= allowed + 1


@given(places=st.integers(0, 100 * MICRO))
@settings(deadline=None, max_examples=200)
def test_a_number_written_with_six_places_is_exact_both_ways(places: int) -> None:
    value = places / MICRO
    assert scaled(value, MICRO, ROUND_CEILING) == scaled(value, MICRO, ROUND_FLOOR) == places


def test_a_standing_grants_nothing_that_was_not_said() -> None:
    standing = Standing(0, frozenset(), approved_by_admin=False)
    assert not standing.owner_approved and not standing.accepted_here


def test_a_policy_is_told_what_kind_a_study_is_and_how_small_a_cell_it_tells_of(
    contract_with: ContractWith, case_of: CaseOf
) -> None:
    case = case_of(contract_with())
    trained = facts_of_study("accept", case)
    assert (trained.study.kind, trained.study.minimum_cell) == ("training", 0)
    small = statistics(silos=[{"silo": silo, "rows": 300} for silo in case.contract.silo_names], minimum_cell=9)
    facts = facts_of_study("accept", replace(case, contract=small))
    assert (facts.study.kind, facts.study.minimum_cell) == ("statistics", 9)
    assert facts.study.columns == {column.name for column in small.data.reads}
    assert facts.study.cost == study_cost(small, "mercy", case.order)
