"""What no question whatever gets out of the shipped policy sets."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import lru_cache
from typing import Any
from unittest.mock import patch

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from policies import catalogue
from silo_node.errors import PolicyRefused
from silo_node.policy.document import parse_policy, policy_by_name
from silo_node.policy.gate import POLICY_ERROR, Approval, Gate, Hold, Refusal
from silo_node.policy.limits import OwnerLimits
from silo_node.policy.question import LARGEST, CodeFacts, Facts, Question

SETS = st.sampled_from(catalogue.names())
NUMBERS = st.integers(-LARGEST, LARGEST) | st.integers(0, 10)
ACTIONS = st.sampled_from(["accept", "round", "release"])
SWITCHES = (
    "owner_approved",
    "accepted_here",
    "limits.accepts_within_limits",
    "limits.releases_within_limits",
    "study.approved_by_admin",
    "study.sealed",
    "study.lead_known",
)
RANKS = {Refusal: 0, Hold: 1, Approval: 2}
FactsWith = Callable[[dict[str, Any]], Facts]
CodeWith = Callable[[dict[str, Any]], CodeFacts]
gate = lru_cache(lambda name: Gate(policy_by_name(name)))


def rank(name: str, facts: Question) -> int:
    return RANKS[type(gate(name).decide(facts))]


@st.composite
def questions(draw: st.DrawFn) -> dict[str, Any]:
    """Changes to facts.yaml: any step, by anybody's yes, on any kind of data, in any sandbox."""
    switches = {name: draw(st.booleans()) for name in SWITCHES}
    return switches | {
        "action": draw(ACTIONS),
        "dataset.sensitivity": draw(st.sampled_from(["public", "personal", "special-category"])),
        "sandbox": draw(st.sampled_from(["bubblewrap", "landlock", "none"])),
        "study.purpose": draw(st.sampled_from(["medical-research", "risk-modelling"])),
        "limits.purposes": ["medical-research", "risk-modelling"],
    }


@settings(deadline=None, max_examples=150)
@given(name=SETS, change=questions(), cost=NUMBERS, remaining=NUMBERS, rest=st.data())
def test_nothing_that_costs_more_than_remains_is_ever_approved(
    name: str, change: dict[str, Any], cost: int, remaining: int, rest: st.DataObject, facts_with: FactsWith
) -> None:
    numbers = {field: rest.draw(NUMBERS) for field in ("limits.max_epsilon", "dataset.budget", "study.quorum")}
    facts = facts_with({**change, "study.cost": cost, "dataset.remaining": remaining, **numbers})
    decision = gate(name).decide(facts)
    if cost > remaining:
        assert isinstance(decision, Refusal)
        broken = {decision.rule, *(breach.rule for breach in decision.further)}
        assert "within-budget" in broken or decision.rule == POLICY_ERROR


@settings(deadline=None, max_examples=100)
@given(name=SETS, granted=st.sets(st.sampled_from("abcdef")), asked=st.sets(st.sampled_from("abcdef"), min_size=1))
def test_no_column_outside_those_granted_is_ever_approved(
    name: str, granted: set[str], asked: set[str], facts_with: FactsWith, code_with: CodeWith
) -> None:
    change = {"limits.columns": sorted(granted), "study.columns": sorted(asked), "dataset.columns": sorted(asked)}
    for facts in (facts_with(change), code_with(change)):
        assert isinstance(gate(name).decide(facts), Approval) == (asked <= granted)


ASKED_MORE = st.sampled_from(["epsilon", "delta", "cost"])


@settings(deadline=None, max_examples=200)
@given(name=SETS, change=questions(), what=ASKED_MORE, less=st.integers(0, 4 * 10**6), more=st.integers(0, 4 * 10**6))
def test_raising_epsilon_never_turns_a_no_into_a_yes(
    name: str, change: dict[str, Any], what: str, less: int, more: int, facts_with: FactsWith
) -> None:
    """Nor do delta and cost: who asks for more never gets a milder answer. Bounds lie within what is drawn."""
    scale = {"epsilon": 1, "delta": 5, "cost": 500_000}[what]
    bounds = {"limits.ask_epsilon": 1_000_000, "limits.max_epsilon": 2_000_000}
    small = facts_with({**change, **bounds, f"study.{what}": less * scale})
    large = facts_with({**change, **bounds, f"study.{what}": (less + more) * scale})
    assert rank(name, large) <= rank(name, small)


@settings(deadline=None, max_examples=100)
@given(name=SETS, change=questions())
def test_a_persons_yes_lifts_what_is_held_and_nothing_that_is_refused(
    name: str, change: dict[str, Any], facts_with: FactsWith
) -> None:
    without = gate(name).decide(facts_with({**change, "owner_approved": False}))
    decided = gate(name).decide(facts_with({**change, "owner_approved": True}))
    if isinstance(without, Refusal):
        assert isinstance(decided, Refusal)
        assert (decided.rule, decided.further) == (without.rule, without.further)
    else:
        assert isinstance(decided, Approval)


@settings(deadline=None, max_examples=100)
@given(
    name=SETS,
    change=questions(),
    word=st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    fact=st.sampled_from(["dataset.sensitivity", "sandbox"]),
)
def test_a_word_that_no_rule_knows_is_never_answered_more_mildly_than_the_worst_that_is_known(
    name: str, change: dict[str, Any], word: str, fact: str, facts_with: FactsWith
) -> None:
    worst = {"dataset.sensitivity": "special-category", "sandbox": "none"}[fact]
    if word not in {"public", "personal", "bubblewrap", "landlock"}:
        assert rank(name, facts_with({**change, fact: word})) <= rank(name, facts_with({**change, fact: worst}))


def places(context: dict[str, Any], above: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path of every fact, and of every group of facts."""
    for key, value in context.items():
        yield (*above, key)
        if isinstance(value, dict):
            yield from places(value, (*above, key))


def spoiled(context: dict[str, Any], path: tuple[str, ...], how: Any) -> dict[str, Any]:
    """``context`` with one fact missing, another beside it, or of another type."""
    changed = copy.deepcopy(context)
    target = changed
    for key in path[:-1]:
        target = target[key]
    if how == "missing":
        del target[path[-1]]
    elif how == "one more":
        target[f"{path[-1]}_of_nobody"] = 1
    else:
        target[path[-1]] = how
    return changed


@pytest.mark.parametrize("name", catalogue.names())
@pytest.mark.parametrize("how", ["missing", "one more", None, 1.5, {"a": 1}, 2**63], ids=str)
def test_no_missing_unknown_or_misshapen_fact_is_ever_approved(
    name: str, how: Any, facts_with: FactsWith, code_with: CodeWith
) -> None:
    for facts in (facts_with({}), code_with({})):
        context = facts.context()
        for path in places(context):
            wrong = spoiled(context, path, how)
            with patch.object(type(facts), "context", lambda _, wrong=wrong: wrong):
                decision = gate(name).decide(facts)
            assert isinstance(decision, Refusal), (path, how)
            assert decision.rule == POLICY_ERROR


@pytest.mark.parametrize("name", catalogue.names())
def test_a_set_that_is_cut_between_two_rules_is_refused(name: str) -> None:
    """What is left is sound Cedar, and forbids too little: only the closing line tells."""
    rules = catalogue.policy_text(name).split("\n\n")
    for end in range(1, len(rules)):
        with pytest.raises(PolicyRefused, match="half-written"):
            parse_policy("\n\n".join(rules[:end]) + "\n", "cut.cedar")


def test_what_an_owner_did_not_write_is_not_granted(facts_with: FactsWith) -> None:
    empty = OwnerLimits()
    assert (empty.purposes, empty.recipients, empty.columns, empty.max_epsilon, empty.max_delta) == ((), (), {}, 0, 0)
    facts = facts_with({"limits.purposes": [], "limits.columns": [], "limits.recipients": []})
    refused = gate("baseline").decide(replace(facts, owner_approved=True))
    assert isinstance(refused, Refusal)
    assert {breach.rule for breach in refused.further} == {"recipients-known", "columns-granted"}


def test_a_context_is_json_of_whole_numbers_words_truths_and_lists(facts_with: FactsWith, code_with: CodeWith) -> None:
    for facts in (facts_with({}), code_with({})):
        context = facts.context()
        assert json.loads(json.dumps(context, allow_nan=False)) == context
        assert all(not isinstance(value, float) for group in context.values() for value in _leaves(group))


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for one in value.values():
            yield from _leaves(one)
    else:
        yield value
