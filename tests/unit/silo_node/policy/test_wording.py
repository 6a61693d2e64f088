from collections.abc import Callable
from dataclasses import replace

import pytest

from protocol.study import StudyContract
from silo_node.policy.case import Case, CodeCase
from silo_node.policy.facts import facts_of_analysis, facts_of_study
from silo_node.policy.question import CodeFacts, Facts
from silo_node.policy.wording import OF_ANY, OF_CODE, OF_STUDIES, VOCABULARY, fill_in, placeholders, word


@pytest.fixture
def facts(contract_with: Callable[..., StudyContract], case_of: Callable[..., Case]) -> Facts:
    return facts_of_study("accept", case_of(contract_with(columns=300)))


@pytest.fixture
def code(code_case: CodeCase) -> CodeFacts:
    return facts_of_analysis(code_case)


def test_every_name_of_the_vocabulary_can_be_filled_in(facts: Facts, code: CodeFacts) -> None:
    for name in OF_ANY.keys() | OF_STUDIES.keys():
        assert fill_in(f"<{{{name}}}>", facts).strip("<>")
    for name in OF_ANY.keys() | OF_CODE.keys():
        assert fill_in(f"<{{{name}}}>", code).strip("<>")
    assert OF_ANY.keys() | OF_STUDIES.keys() | OF_CODE.keys() == VOCABULARY


def test_a_name_that_a_question_has_no_fact_for_is_an_error(facts: Facts, code: CodeFacts) -> None:
    for name in OF_CODE:
        with pytest.raises(KeyError):
            fill_in(f"{{{name}}}", facts)
    for name in OF_STUDIES:
        with pytest.raises(KeyError):
            fill_in(f"{{{name}}}", code)


def test_numbers_read_as_people_write_them(facts: Facts) -> None:
    assert fill_in("{epsilon} of {max_epsilon}, {delta}", facts) == "3 of 3, 1e-05"
    assert fill_in("{expires_at}", facts) == "2027-02-01T00:00:00Z"
    assert fill_in("{remaining_share}", facts) == "100.00 %"


def test_a_long_list_is_cut_short_and_counted(facts: Facts) -> None:
    assert word("columns_not_granted", facts) == "none"
    nothing_granted = replace(facts, limits=replace(facts.limits, columns=frozenset()))
    assert word("columns_not_granted", nothing_granted) == "c0, c1, c10, c100, c101 and 296 more"


def test_only_plain_names_are_filled_in(facts: Facts) -> None:
    assert placeholders("{a} {b.c} {{d}}") == {"a", "b.c", "d"}
    for hostile in ("{epsilon.__class__}", "{0}", "{epsilon!r}", "{}"):
        with pytest.raises(KeyError):
            fill_in(hostile, facts)
