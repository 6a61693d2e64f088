from pathlib import Path

import pytest

from policies import catalogue
from silo_node.errors import PolicyRefused
from silo_node.policy.limits import CLOSING, OwnerLimits, limits_by_name, load_limits, parse_limits


def test_a_file_with_its_last_line_alone_allows_nothing() -> None:
    limits = parse_limits(CLOSING, "empty.toml")
    assert limits == OwnerLimits()
    assert (limits.purposes, limits.recipients, limits.columns) == ((), (), {})
    assert (limits.max_epsilon, limits.max_delta) == (0.0, 0.0)
    assert (limits.accept, limits.release) == ("ask", "ask")


@pytest.mark.parametrize("name", catalogue.names())
def test_every_shipped_limits_file_loads_and_writes_down_every_field(name: str) -> None:
    limits = limits_by_name(name)
    assert limits.purposes
    assert limits.model_fields_set | {"ask_epsilon"} == set(OwnerLimits.model_fields)


def test_only_the_research_limits_accept_by_a_rule_and_none_release_by_one() -> None:
    shipped = {name: limits_by_name(name) for name in catalogue.names()}
    assert {name for name, limits in shipped.items() if limits.accept == "within-limits"} == {"research"}
    assert {limits.release for limits in shipped.values()} == {"ask"}
    cap, comfort = shipped["research"].max_epsilon, shipped["research"].ask_epsilon
    assert comfort is not None and comfort <= cap / 2


def test_a_file_of_the_owners_loads(tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text('purposes = ["risk-modelling"]\nrecipients = ["rosa"]\n[columns]\nloans = ["income"]\n' + CLOSING)
    limits = load_limits(path)
    assert limits.recipients == ("rosa",)
    assert limits.columns == {"loans": ("income",)}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("max_epsilon = ", "is no TOML"),
        ("max_epsilons = 3.0", "max_epsilons"),
        ("max_epsilon = -1.0", "max_epsilon"),
        ("max_epsilon = 101.0", "max_epsilon"),
        ("max_epsilon = inf", "finite"),
        ("max_epsilon = nan", "finite"),
        ("max_epsilon = 2027-01-01", "date"),
        ('max_epsilon = "3"', "max_epsilon"),
        ('purposes = ["marketing"]', "purposes"),
        ('purposes = "medical-research"', "purposes"),
        ('recipients = "everyone"', "recipients"),
        ('accept = "always"', "accept"),
        ("accept = true", "accept"),
        ("min_quorum = 2", "min_quorum"),
        ("min_rows = 0", "min_rows"),
        ('[columns]\nheart = "all"', "columns"),
        ('[columns]\n"Heart 1" = ["age"]', "columns"),
    ],
)
def test_limits_that_cannot_be_used_are_refused_by_file_and_field(text: str, says: str, tmp_path: Path) -> None:
    path = tmp_path / "limits.toml"
    path.write_text(f"{text}\n{CLOSING}\n")
    with pytest.raises(PolicyRefused, match=says) as refused:
        load_limits(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("name", catalogue.names())
def test_limits_that_were_cut_anywhere_are_refused_as_incomplete(name: str) -> None:
    text = catalogue.limits_text(name)
    for end in range(len(text.rstrip())):
        with pytest.raises(PolicyRefused, match="cut off or is half-written"):
            parse_limits(text[:end], "cut.toml")
    assert parse_limits(text.rstrip(), "whole.toml") == limits_by_name(name)


@pytest.mark.parametrize("end", ["\nmin_rows = 50\n", " More.\n", "\n#\n"])
def test_nothing_stands_below_the_last_line(end: str) -> None:
    with pytest.raises(PolicyRefused, match="End of the limits"):
        parse_limits(CLOSING + end, "more.toml")


def test_unknown_shipped_limits_are_refused() -> None:
    with pytest.raises(PolicyRefused, match="there are: bank, baseline, hospital, research"):
        limits_by_name("school")
