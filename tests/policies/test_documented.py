"""What docs/policy.md shows is what the code takes."""

import re
from pathlib import Path

from policies import catalogue
from silo_node.policy.document import parse_policy, policy_by_name
from silo_node.policy.limits import OwnerLimits, parse_limits
from silo_node.policy.wording import VOCABULARY

TEXT = (Path(__file__).parents[2] / "docs" / "policy.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_limits_shown_are_accepted_and_write_down_every_field() -> None:
    (shown,) = blocks("toml")
    assert parse_limits(shown, "docs/policy.md").model_fields_set == set(OwnerLimits.model_fields)


def test_the_rule_shown_can_be_added_to_the_baseline() -> None:
    (shown,) = blocks("cedar")
    above, last, _ = catalogue.policy_text("baseline").rpartition("// End of the rules.")
    document = parse_policy(above + shown + last, "docs/policy.md")
    assert document.rules[-1].name == "a-week-at-least"


def test_every_rule_of_the_baseline_and_every_name_in_braces_is_listed() -> None:
    told = set(re.findall(r"`([a-z][a-z0-9_-]*)`", TEXT))
    assert {rule.name for rule in policy_by_name("baseline").rules if rule.effect == "forbid"} <= told
    assert told >= VOCABULARY
