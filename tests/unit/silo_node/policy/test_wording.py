from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol.study import StudyContract
from silo_node.policy.case import Case
from silo_node.policy.facts import Facts, facts_of_study
from silo_node.policy.wording import VOCABULARY, fill_in, placeholders


@pytest.fixture
def facts(contract_with: Callable[..., StudyContract], case_of: Callable[..., Case]) -> Facts:
    return facts_of_study("accept", case_of(contract_with(columns=300)))


def test_every_name_of_the_vocabulary_can_be_filled_in(facts: Facts) -> None:
    for name in VOCABULARY:
        assert fill_in(f"<{{{name}}}>", facts).strip("<>")


def test_numbers_read_as_people_write_them(facts: Facts) -> None:
    assert fill_in("{epsilon} of {max_epsilon}, {delta}", facts) == "3 of 3, 1e-05"
    assert fill_in("{expires_at}", facts) == "2027-02-01T00:00:00Z"
    assert fill_in("{remaining_share}", facts) == "100.00 %"


def test_a_long_list_is_cut_short_and_counted(facts: Facts) -> None:
    text = VOCABULARY["columns_not_granted"]
    assert text(facts) == "none"
    nothing_granted = replace(facts, limits=replace(facts.limits, columns=frozenset()))
    assert text(nothing_granted) == "c0, c1, c10, c100, c101 and 296 more"


def test_only_plain_names_are_filled_in(facts: Facts) -> None:
    assert placeholders("{a} {b.c} {{d}}") == {"a", "b.c", "d"}
    for hostile in ("{epsilon.__class__}", "{0}", "{epsilon!r}", "{}"):
        with pytest.raises(KeyError):
            fill_in(hostile, facts)
