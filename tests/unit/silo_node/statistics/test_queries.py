"""Normalisation: a sum no record moves beyond the clip, and moments that follow from the total alone."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.study import StudyContract
from silo_node.statistics.queries import (
    DEVIATION_FLOOR,
    StatisticsRefused,
    column_moments,
    normalisation_sums,
)
from silo_node.training.noise import SystemNoise
from silo_node.training.rows import scaled

ALL = ("north", "south", "west")
anything = st.floats(allow_nan=True, allow_infinity=True)
# Contract and noise source hold no state that an example could leave behind.
shared = settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])


def test_the_sum_is_of_values_and_squares_in_the_contracts_column_order(
    contract: StudyContract, noiseless: Any
) -> None:
    rows = np.array([[0.5, 0.9, -0.25, 0.1], [-0.1, 0.0, 1.0, 0.2]])
    found = normalisation_sums(contract, rows, noiseless)
    # The contract names column c, then a.
    assert found == pytest.approx([0.75, 0.4, 1.0625, 0.26])


@shared
@given(
    hnp.arrays(np.float64, st.tuples(st.integers(0, 6), st.just(4)), elements=anything),
    hnp.arrays(np.float64, (1, 4), elements=anything),
)
def test_no_record_whatever_it_holds_moves_the_sum_beyond_the_clip(
    contract: StudyContract, noiseless: Any, rows: Any, record: Any
) -> None:
    with_it, without = scaled(contract, np.vstack([rows, record])), scaled(contract, rows)
    moved = normalisation_sums(contract, with_it, noiseless) - normalisation_sums(contract, without, noiseless)
    assert float(np.linalg.norm(moved)) <= contract.normalisation.clip * (1 + 1e-5)


def test_unscaled_values_are_clamped_again(contract: StudyContract, noiseless: Any) -> None:
    moved = normalisation_sums(contract, np.full((1, 4), 1e9), noiseless)
    assert float(np.linalg.norm(moved)) == pytest.approx(1.5)


def test_a_record_with_a_missing_value_adds_nothing(contract: StudyContract, noiseless: Any) -> None:
    rows = np.array([[0.5, 0.5, 0.5, 0.5], [math.nan, 0.5, 0.5, 0.5]])
    assert np.array_equal(
        normalisation_sums(contract, rows, noiseless), normalisation_sums(contract, rows[:1], noiseless)
    )


def test_the_noise_is_the_multiplier_times_the_clip(contract: StudyContract) -> None:
    nobody = np.zeros((0, 4))
    drawn = np.array([normalisation_sums(contract, nobody, SystemNoise()) for _ in range(4000)])
    assert drawn.std() == pytest.approx(5.0 * 1.5, rel=6 / math.sqrt(2 * drawn.size))


def test_moments_come_from_the_total_and_published_counts(contract: StudyContract) -> None:
    # Two silos of 300 published rows, a quarter held out: 450 records.
    total = np.array([0.2 * 450, -0.4 * 450, 0.29 * 450, 0.32 * 450])
    found = column_moments(contract, total, ("north", "west"))
    assert found.mean == pytest.approx([-0.4, 0.0, 0.2, 0.0])
    assert found.deviation == pytest.approx([0.4, 1.0, 0.5, 1.0])


def test_a_deviation_that_noise_made_tiny_or_negative_is_floored(contract: StudyContract) -> None:
    found = column_moments(contract, np.array([0.0, 0.0, -50.0, 1e-9]), ALL)
    assert found.deviation.tolist() == [DEVIATION_FLOOR, 1.0, DEVIATION_FLOOR, 1.0]


@shared
@given(hnp.arrays(np.float64, 4, elements=st.floats(-1e12, 1e12)))
def test_moments_are_bounded_whatever_the_total(contract: StudyContract, total: Any) -> None:
    found = column_moments(contract, total, ALL)
    assert bool((np.abs(found.mean) <= 1).all())
    assert bool(((found.deviation >= DEVIATION_FLOOR) & (found.deviation <= 1)).all())


def test_every_silo_reaches_the_same_bits(contract: StudyContract) -> None:
    total = np.array([31.7, -12.25, 101.125, 77.0]) / 3.0
    one, other = (column_moments(contract, total.copy(), names) for names in (ALL, ALL[::-1]))
    assert one.mean.tobytes() == other.mean.tobytes()
    assert one.deviation.tobytes() == other.deviation.tobytes()


@pytest.mark.parametrize("total", [np.zeros(3), np.full(4, math.nan), np.zeros(4, dtype=np.float32)])
def test_a_total_of_another_shape_is_refused(contract: StudyContract, total: Any) -> None:
    with pytest.raises(StatisticsRefused, match="4 finite"):
        column_moments(contract, total, ALL)


@pytest.mark.parametrize("survivors", [(), ("north", "north"), ("north", "east")])
def test_survivors_that_the_contract_does_not_name_once_are_refused(contract: StudyContract, survivors: Any) -> None:
    with pytest.raises(StatisticsRefused, match="survivors"):
        column_moments(contract, np.zeros(4), survivors)


def test_rows_with_another_number_of_features_are_refused(contract: StudyContract, noiseless: Any) -> None:
    with pytest.raises(StatisticsRefused, match="4 features"):
        normalisation_sums(contract, np.zeros((2, 3)), noiseless)
