import pytest

from policies import catalogue
from silo_node.errors import PolicyRefused
from silo_node.policy import layout
from silo_node.policy.document import parse_policy
from silo_node.policy.layout import formatted
from silo_node.policy.source_text import comments

CROWDED = """// first words
@id("all") @reason("All.") permit (principal, action,
  resource); // after the rule
@id("no") // within
@reason("No.") @found("it is so") @remedy("Wait.") forbid (principal, action,resource) when { // deep
context.now<3 };
// last words"""


@pytest.mark.parametrize("name", catalogue.names())
def test_the_shipped_sets_are_laid_out_so_already(name: str) -> None:
    assert formatted(catalogue.policy_text(name), name) == catalogue.policy_text(name)


def test_layout_keeps_rules_and_comments_and_is_the_same_the_second_time() -> None:
    once = formatted(CROWDED, "mine.cedar")
    assert once != CROWDED
    assert formatted(once, "mine.cedar") == once
    assert comments(once) == ["// first words", "// after the rule", "// within", "// deep", "// last words"]
    assert [rule.name for rule in parse_policy(once, "x").rules] == ["all", "no"]


@pytest.mark.parametrize("other", [CROWDED.replace("// deep", ""), CROWDED.replace("now<3", "now<4")])
def test_a_layout_that_would_change_a_rule_or_lose_a_comment_is_refused(
    other: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layout.cedarpy, "format_policies", lambda *_: other)
    with pytest.raises(PolicyRefused, match="more than the layout"):
        formatted(CROWDED, "mine.cedar")


def test_a_text_that_cannot_be_used_is_not_laid_out() -> None:
    with pytest.raises(PolicyRefused, match="line 1"):
        formatted("permit (", "mine.cedar")
