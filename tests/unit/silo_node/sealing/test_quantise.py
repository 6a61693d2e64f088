import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing.decode import Segment, dequantise
from protocol.sealing.errors import LayoutRefused, LevelsRefused, ScaleRefused
from protocol.sealing.parameters import Layout
from silo_node.sealing.quantise import Quantiser, cryptographic_uniforms, quantise, source_of


def always(chance: float):
    return lambda count: np.full(count, chance)


def seeded(seed: int):
    return np.random.default_rng(seed).random


def test_rounding_goes_up_exactly_when_the_draw_is_below_the_fraction() -> None:
    # 2 bits on [-1, 1]: levels at -1, -1/3, 1/3, 1; zero lies in the middle of two.
    values = np.zeros(1)
    assert quantise(values, [Segment(1, 0)], 2, always(0.49)).tolist() == [2]
    assert quantise(values, [Segment(1, 0)], 2, always(0.5)).tolist() == [1]


def test_grid_points_are_never_moved() -> None:
    values = np.array([-1.0, 1.0])
    for chance in (0.0, 1 - 2.0**-53):
        assert quantise(values, [Segment(2, 0)], 13, always(chance)).tolist() == [0, 2**13 - 1]


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=40), st.integers(1, 45))
def test_levels_never_leave_their_range_whatever_the_values(values: list[float], bits: int) -> None:
    levels = quantise(np.array(values), [Segment(len(values), 0)], bits, seeded(1))
    assert levels.dtype == np.uint64
    assert int(levels.max()) <= 2**bits - 1
    for value, level in zip(values, levels.tolist(), strict=True):
        assert not value >= 1 or level == 2**bits - 1
        assert not value <= -1 or level == 0


@settings(deadline=None, max_examples=30)
@given(st.integers(-20, 20), st.integers(4, 44), st.floats(0.01, 1.0), st.integers(0, 2**32))
def test_a_level_is_within_one_step_of_its_place(exponent: int, bits: int, weight: float, seed: int) -> None:
    values = np.random.default_rng(seed).uniform(-1, 1, 200) * 2.0**exponent
    levels = quantise(values, [Segment(200, exponent)], bits, seeded(seed), weight)
    place = (weight * values / 2.0**exponent + 1) / 2 * (2**bits - 1)
    assert np.abs(levels.astype(np.float64) - place).max() < 1 + 2.0 ** (bits - 50)


def test_the_expected_level_is_the_exact_place() -> None:
    count, value = 200_000, 0.3
    levels = quantise(np.full(count, value), [Segment(count, 0)], 3, seeded(5))
    place = (value + 1) / 2 * 7
    # Five standard deviations of the mean of draws that differ by one.
    assert abs(levels.mean() - place) < 5 * 0.5 / math.sqrt(count)


def test_segments_have_their_own_scales_and_blocks_do_not_show() -> None:
    long = 40_000
    values = np.concatenate([np.full(long, 0.5), np.full(3, 4.0)])
    levels = quantise(values, [Segment(long, 0), Segment(3, 3)], 2, always(0.9))
    assert set(levels[:long].tolist()) == {2} and levels[long:].tolist() == [2, 2, 2]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 40_000), max_size=4), st.integers(0, 2**32))
def test_a_vector_read_in_runs_has_the_levels_and_the_count_of_one_read_at_once(cuts: list[int], seed: int) -> None:
    values = np.random.default_rng(seed).normal(0, 1, 40_000)
    segments = [Segment(25_000, 0), Segment(15_000, 1)]
    whole, runs = (Quantiser(source_of(values), segments, 13, seeded(seed)) for _ in range(2))
    levels = whole.read(0, values.size)
    places = [0, *sorted(cuts), values.size]
    pieces = [runs.read(start, stop) for start, stop in pairwise(places)]
    assert np.array_equal(np.concatenate(pieces), levels)
    outside = np.count_nonzero(np.abs(values[:25_000]) > 1) + np.count_nonzero(np.abs(values[25_000:]) > 2)
    assert runs.clipped == whole.clipped == outside > 0


def test_what_lies_on_the_edge_of_the_range_is_not_counted_as_clipped() -> None:
    one = Quantiser(source_of(np.array([-1.0, 1.0, -1.0001, 1.0001, 0.5])), [Segment(5, 0)], 13, always(0.5))
    assert one.clipped == 0
    one.read(0, 3)
    assert one.clipped == 1
    one.read(3, 5)
    assert one.clipped == 2


def test_a_value_is_read_once_and_in_order() -> None:
    one = Quantiser(source_of(np.zeros(10)), [Segment(10, 0)], 13, always(0.5))
    one.read(0, 4)
    for start, stop in ((0, 4), (5, 6), (4, 11), (4, 3)):
        with pytest.raises(LevelsRefused, match="4 of 10 were read"):
            one.read(start, stop)


def test_quantised_terms_decode_to_the_sum_within_a_step_each() -> None:
    layout, segments = Layout.single(500, 3), [Segment(500, -2)]
    values = [np.random.default_rng(number).uniform(-0.25, 0.25, 500) for number in range(3)]
    levels = [quantise(its, segments, layout.parts[0].level_bits, seeded(9)) for its in values]
    sums = dequantise(np.sum(levels, axis=0, dtype=np.uint64), layout.parts[0], 3, segments)
    assert np.abs(sums - np.sum(values, axis=0)).max() < 3 * 2 * 0.25 / layout.parts[0].level_max


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_values_that_are_not_finite_are_refused_by_number_only(bad: float) -> None:
    with pytest.raises(LevelsRefused, match=r"^values: 2 of a block are not finite"):
        quantise(np.array([1.0, bad, bad]), [Segment(3, 0)], 8, seeded(1))


def test_a_value_that_is_not_finite_is_found_when_its_block_is_read() -> None:
    values = np.append(np.zeros(40_000), math.nan)
    one = Quantiser(source_of(values), [Segment(40_001, 0)], 8, seeded(1))
    assert one.read(0, 40_000).size == 40_000
    with pytest.raises(LevelsRefused, match="not finite"):
        one.read(40_000, 40_001)


def test_a_source_is_asked_for_small_blocks_in_order_and_never_past_a_segment() -> None:
    asked: list[int] = []

    def source(count: int) -> np.ndarray:
        asked.append(count)
        return np.zeros(count)

    one = Quantiser(source, [Segment(5, 0), Segment(100_000, 1)], 8, seeded(1))
    one.read(0, 3)
    one.read(3, 100_005)
    assert asked[:3] == [3, 2, 1 << 14]
    assert sum(asked) == 100_005 and max(asked) == 1 << 14


def test_a_source_that_runs_dry_is_refused() -> None:
    with pytest.raises(LevelsRefused, match="as long as the segments"):
        Quantiser(source_of(np.zeros(3)), [Segment(4, 0)], 8, seeded(1)).read(0, 4)


def test_what_does_not_fit_is_refused() -> None:
    values, segments = np.zeros(3), [Segment(3, 0)]
    with pytest.raises(LevelsRefused, match="float64"):
        quantise(values.astype(np.float32), segments, 8, seeded(1))
    with pytest.raises(LevelsRefused, match="dimension"):
        quantise(values.reshape(3, 1), segments, 8, seeded(1))
    with pytest.raises(ScaleRefused, match="cover 2 values"):
        quantise(values, [Segment(2, 0)], 8, seeded(1))
    for weight in (0.0, -0.1, 1.1, math.nan):
        with pytest.raises(ScaleRefused, match="weight"):
            quantise(values, segments, 8, seeded(1), weight)
    for bits in (0, 47, True):
        with pytest.raises(LayoutRefused, match="bits"):
            quantise(values, segments, bits, seeded(1))


def test_cryptographic_uniforms_lie_in_the_unit_interval_and_follow_their_key() -> None:
    draw, again, other = (cryptographic_uniforms(key) for key in (bytes(32), bytes(32), b"\1" * 32))
    sample = draw(100_000)
    assert sample.min() >= 0 and sample.max() < 1
    assert abs(sample.mean() - 0.5) < 0.005
    assert np.array_equal(sample, np.concatenate([again(60_000), again(40_000)]))
    assert not np.array_equal(sample, other(100_000))
    with pytest.raises(ValueError, match="32"):
        cryptographic_uniforms(b"short")
