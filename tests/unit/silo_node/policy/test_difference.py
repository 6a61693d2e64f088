from collections import Counter

import pytest

from policies import catalogue
from silo_node.policy.difference import RuleChange, difference, rule_changes
from silo_node.policy.document import parse_policy, policy_by_name
from silo_node.policy.limits import OwnerLimits, limits_by_name
from silo_node.policy.trial import trials

BASELINE = catalogue.policy_text("baseline")


def test_a_set_differs_in_nothing_from_itself() -> None:
    document = policy_by_name("hospital")
    found = difference(document, document, limits_by_name("hospital"))
    assert (found.rules, found.turns) == ((), ())
    assert found.asked > 500


def test_the_made_up_questions_are_answered_in_every_way() -> None:
    """Else a difference in verdicts could go unseen."""
    nothing = parse_policy('@id("all") @reason("All.") permit (principal, action, resource);', "open")
    found = difference(nothing, policy_by_name("baseline"), limits_by_name("baseline"))
    turned = Counter((turn.action, turn.after) for turn in found.turns for _ in range(turn.count))
    assert set(turned) >= {(action, word) for action in ("accept", "release", "analyse") for word in ("hold", "refuse")}
    assert ("round", "refuse") in turned
    assert all(turn.before == "allow" for turn in found.turns)


def test_a_rule_taken_out_is_told_and_the_studies_that_it_had_stopped() -> None:
    document = policy_by_name("baseline")
    rule = next(one for one in document.rules if one.name == "epsilon-cap")
    found = difference(document, parse_policy(BASELINE.replace(rule.text, ""), "mine"), limits_by_name("baseline"))
    assert found.rules == (RuleChange("epsilon-cap", "removed"),)
    assert {(turn.action, turn.before, turn.rule) for turn in found.turns} >= {("round", "refuse", "epsilon-cap")}
    example = next(turn.example for turn in found.turns if turn.action == "round")
    assert example == ("epsilon just over the limit",)


def test_a_changed_sentence_and_a_changed_condition_are_told_apart() -> None:
    document = policy_by_name("baseline")
    sentence = BASELINE.replace("smaller is safer", "less is safer")
    (change,) = rule_changes(document, parse_policy(sentence, "mine"))
    assert change == RuleChange("epsilon-cap", "changed", ("reason",))
    condition = BASELINE.replace(
        "study.epsilon > context.limits.max_epsilon", "study.epsilon >= context.limits.max_epsilon"
    )
    found = difference(document, parse_policy(condition, "mine"), limits_by_name("baseline"))
    assert found.rules == (RuleChange("epsilon-cap", "changed", ("conditions",)),)
    assert ("epsilon at the limit",) in {turn.example for turn in found.turns}


def test_a_comment_or_a_blank_is_no_difference() -> None:
    other = BASELINE.replace("forbid (principal, action, resource)", "forbid (principal,\n action, resource) // so")
    assert rule_changes(policy_by_name("baseline"), parse_policy(other, "mine")) == ()


@pytest.mark.parametrize("limits", [OwnerLimits(), *(limits_by_name(name) for name in catalogue.names())])
def test_questions_can_be_made_up_under_any_limits(limits: OwnerLimits) -> None:
    words = [(trial.question.action, trial.words) for trial in trials(limits)]
    assert len(words) == len(set(words))
