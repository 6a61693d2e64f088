"""The hub opens no round that a mirrored budget can't pay for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.ledger.decision import Allowed, Denied, MirroredBalance, can_open


def mirror(cap: int, spent: int) -> MirroredBalance:
    return MirroredBalance("zurich", "heart", cap, spent)


def test_a_round_may_take_the_last_unit() -> None:
    assert can_open(mirror(100, 40), 60) == Allowed(0)


def test_a_denial_names_silo_domain_and_both_numbers() -> None:
    denied = can_open(mirror(3 * 10**12, 2 * 10**12), 15 * 10**11)
    assert isinstance(denied, Denied)
    assert denied.short_picos == 5 * 10**11
    assert denied.reason == (
        "domain heart of silo zurich has 1.000000 left, the round costs up to 1.500000: "
        "choose fewer rounds or more noise"
    )


def test_a_mirror_over_its_cap_denies_and_shows_nothing_left() -> None:
    denied = can_open(mirror(100, 150), 1)
    assert isinstance(denied, Denied)
    assert denied.short_picos == 1
    assert "has 0.000000 left" in denied.reason


@given(cap=st.integers(0, 10**15), spent=st.integers(0, 10**15), ask=st.integers(0, 10**15))
def test_a_round_is_allowed_exactly_while_the_sum_stays_within_the_cap(cap: int, spent: int, ask: int) -> None:
    verdict = can_open(mirror(cap, spent), ask)
    assert isinstance(verdict, Allowed) == (spent + ask <= cap)
    if isinstance(verdict, Allowed):
        assert verdict.remaining_picos == cap - spent - ask


@pytest.mark.parametrize(("spent", "ask"), [(-1, 5), (5, -1)])
def test_a_negative_number_is_an_error(spent: int, ask: int) -> None:
    with pytest.raises(ValueError, match="must be at least 0"):
        can_open(mirror(100, spent), ask)
