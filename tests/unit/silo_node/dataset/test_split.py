"""A row keeps its side of the split, whatever file, order or company it comes in."""

from collections import Counter
from random import Random

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from silo_node.dataset.split import (
    content_identities,
    first_repeat,
    named_identities,
    row_tags,
    tags_of,
    training_mask,
)

KEY = bytes(range(32))
ROWS = st.lists(st.tuples(st.sampled_from([0.0, -0.0, 1.0, 2.5]), st.sampled_from([0.0, 1.0])), min_size=1, max_size=30)


def sides(key: bytes, identities: list[bytes], share: float) -> NDArray[np.bool_]:
    return training_mask(tags_of(row_tags(key, identities)), share)


def test_the_split_of_these_rows_is_this() -> None:
    """Known answers: another split would put rows that were held out among those that are trained on."""
    held = [name for name in map(str, range(20)) if not sides(KEY, named_identities("subject", [name]), 0.34)[0]]
    assert held == ["1", "2", "3", "4", "5", "6", "7", "12", "13", "17"]


def test_all_rows_of_a_subject_are_on_one_side() -> None:
    mask = sides(KEY, named_identities("subject", ["a", "b"] * 50 + ["a"] * 20), 0.5)
    assert len({bool(side) for side in mask[0:100:2]} | {bool(side) for side in mask[100:]}) == 1


@given(st.sets(st.text(min_size=1), max_size=50), st.floats(0, 0.9), st.floats(0, 0.9))
@settings(deadline=None, max_examples=100)
def test_held_out_at_one_share_is_held_out_at_every_larger(ids: set[str], one: float, other: float) -> None:
    identities = named_identities("subject", sorted(ids))
    few, many = sorted([one, other])
    assert not (sides(KEY, identities, many) & ~sides(KEY, identities, few)).any()


@given(ROWS, st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=100)
def test_without_ids_the_order_of_the_rows_does_not_matter(rows: list[tuple[float, float]], random: Random) -> None:
    def dealt(ordered: list[tuple[float, float]]) -> list[tuple[float, float, bool]]:
        values = np.array(ordered) + 0.0
        mask = sides(KEY, content_identities(values, Counter()), 0.5)
        return sorted((*row, bool(side)) for row, side in zip(values.tolist(), mask, strict=True))

    shuffled = list(rows)
    random.shuffle(shuffled)
    assert dealt(rows) == dealt(shuffled)


@given(ROWS, st.tuples(st.sampled_from([0.0, 7.0]), st.sampled_from([0.0, 1.0])), st.integers(0, 30))
@settings(deadline=None, max_examples=100)
def test_one_more_row_changes_no_others_side(
    rows: list[tuple[float, float]], added: tuple[float, float], place: int
) -> None:
    """Adjacent data sets differ in one row: if the side of others hung on it, it would move many gradients."""
    before = content_identities(np.array(rows), Counter())
    after = content_identities(np.array([*rows[:place], added, *rows[place:]]), Counter())
    assert set(before) <= set(after)
    assert len(set(after)) == len(rows) + 1


def test_the_share_held_out_is_the_share_asked_for() -> None:
    identities = named_identities("record", [str(number) for number in range(20_000)])
    held_out = 1 - sides(KEY, identities, 0.34).mean()
    assert abs(held_out - 0.34) < 0.015  # four standard errors


def test_another_key_deals_the_rows_anew() -> None:
    identities = named_identities("record", [str(number) for number in range(1000)])
    same = sides(KEY, identities, 0.5) == sides(bytes(32), identities, 0.5)
    assert 0.4 < same.mean() < 0.6


def test_a_subject_and_a_record_of_one_name_are_dealt_apart() -> None:
    names = [str(number) for number in range(1000)]
    subjects = sides(KEY, named_identities("subject", names), 0.5)
    assert not np.array_equal(subjects, sides(KEY, named_identities("record", names), 0.5))


@given(st.lists(st.integers(0, 12), max_size=20))
@settings(deadline=None, max_examples=100)
def test_the_first_row_that_repeats_another_is_found(numbers: list[int]) -> None:
    expected = next((row for row, number in enumerate(numbers, start=1) if number in numbers[: row - 1]), None)
    assert first_repeat(tags_of(row_tags(KEY, named_identities("subject", [*map(str, numbers)])))) == expected
