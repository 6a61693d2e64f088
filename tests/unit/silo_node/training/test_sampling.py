"""Rows are sampled by index, and a unit's rows come along together."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from silo_node.training.errors import TrainingRefused
from silo_node.training.noise import SystemNoise
from silo_node.training.rows import TrainingRows
from silo_node.training.sampling import UnitRows, sampled


class EveryThird:
    """Takes every third of what there is."""

    def add_gaussian(self, sums: Any, deviation: float, step: float) -> Any:
        return sums

    def included(self, rows: int, rate: float) -> Any:
        assert rate == 0.4
        return np.arange(rows) % 3 == 0


def test_a_poisson_sample_is_picked_by_index() -> None:
    features, target = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    inputs, wanted = sampled(TrainingRows(features, target), 0.4, EveryThird())
    assert wanted.tolist() == [0.0, 3.0, 6.0, 9.0]
    assert inputs[:, 0].tolist() == [0.0, 6.0, 12.0, 18.0]


def test_units_are_sampled_and_all_their_rows_come_along() -> None:
    units = np.array([7, 3, 7, 9, 3, 1, 9, 7])
    rows = np.arange(8.0)
    inputs, target, numbers = UnitRows.of(units, 5).sampled(rows[:, None], rows, 0.4, EveryThird())
    # Of the units 1, 3, 7, 9 the first and the fourth.
    assert target.tolist() == [5.0, 3.0, 6.0]
    assert inputs[:, 0].tolist() == [5.0, 3.0, 6.0]
    assert numbers.tolist() == [0, 1, 1]


@given(st.lists(st.integers(0, 6), max_size=40), st.integers(1, 4))
def test_at_most_so_many_rows_of_a_unit_take_part_and_which_depends_on_no_other_unit(
    units: list[int], most: int
) -> None:
    held = np.array(units, dtype=np.int64)
    rows = UnitRows.of(held, most)
    assert int(rows.counts.sum()) == len(rows.order)
    for unit in set(units):
        mine = [place for place in rows.order.tolist() if units[place] == unit]
        assert mine == [place for place, one in enumerate(units) if one == unit][:most]
        without = np.where(held == unit, held, 99)
        assert mine == [place for place in UnitRows.of(without, most).order.tolist() if units[place] == unit]


def test_each_unit_is_in_with_the_rate_whatever_its_number_of_rows() -> None:
    units = np.repeat(np.arange(40_000), np.arange(40_000) % 3 + 1)
    target = np.zeros(len(units))
    _, _, numbers = UnitRows.of(units, 3).sampled(target[:, None], target, 0.25, SystemNoise())
    drawn = int(numbers.max()) + 1
    assert abs(drawn - 10_000) < 6 * np.sqrt(40_000 * 0.25 * 0.75)


@pytest.mark.parametrize(("units", "most"), [(np.zeros(3), 1), (np.zeros((3, 1), np.int64), 1), (np.zeros(3, int), 0)])
def test_units_of_another_shape_or_type_are_refused(units: Any, most: int) -> None:
    with pytest.raises(TrainingRefused, match="units"):
        UnitRows.of(units, most)
