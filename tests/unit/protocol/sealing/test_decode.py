import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.sealing.decode import Segment, dequantise, next_exponent, runs_within, weighted_mean
from protocol.sealing.errors import ScaleRefused
from protocol.sealing.parameters import Layout, Part


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 256), st.integers(1, 4), st.integers(-126, 126), st.data())
def test_totals_decode_to_the_nearest_float_of_the_exact_fraction(
    terms: int, per_slot: int, exponent: int, data: st.DataObject
) -> None:
    layout = Layout.single(5, terms, per_slot)
    survivors = data.draw(st.integers(2, terms))
    top = survivors * layout.parts[0].level_max
    totals = data.draw(st.lists(st.integers(0, top), min_size=5, max_size=5))
    found = dequantise(np.array(totals, dtype=np.uint64), layout.parts[0], survivors, [Segment(5, exponent)])
    scale = Fraction(2) ** exponent
    exact = [(Fraction(2 * total, layout.parts[0].level_max) - survivors) * scale for total in totals]
    assert found.tolist() == [float(value) for value in exact]


def test_each_segment_has_its_own_scale() -> None:
    layout = Layout.single(4, 2)
    totals = np.full(4, 2 * layout.parts[0].level_max, dtype=np.uint64)
    found = dequantise(totals, layout.parts[0], 2, [Segment(1, 0), Segment(2, 3), Segment(1, -4)])
    assert found.tolist() == [2.0, 16.0, 16.0, 0.125]


def test_segments_must_cover_the_vector() -> None:
    totals = np.zeros(4, dtype=np.uint64)
    with pytest.raises(ScaleRefused, match="cover 3 values"):
        dequantise(totals, Part("update", 4, bits=13), 2, [Segment(3, 0)])


def test_a_run_of_totals_decodes_as_it_does_within_the_whole() -> None:
    part = Part("update", 9, bits=13)
    totals = np.arange(9, dtype=np.uint64) * np.uint64(900)
    whole = dequantise(totals, part, 3, [Segment(9, -3)])
    runs = [dequantise(totals[at : at + 4], part, 3, [Segment(min(4, 9 - at), -3)]) for at in range(0, 9, 4)]
    assert np.concatenate(runs).tolist() == whole.tolist()


@pytest.mark.parametrize(("length", "exponent"), [(0, 0), (-1, 0), (1, 127), (1, -127), (1, True)])
def test_impossible_segments_are_refused(length: int, exponent: int) -> None:
    with pytest.raises(ScaleRefused):
        Segment(length, exponent)


@pytest.mark.parametrize(
    ("largest", "wanted"),
    [(0.5, 0), (0.500001, 1), (1.0, 1), (1.0000001, 2), (2.0, 2), (0.25, -1), (0.125, -2), (0.126, -1), (2.1, 2)],
)
def test_the_next_exponent_is_the_ceiling_of_the_logarithm_of_twice_the_largest(largest: float, wanted: int) -> None:
    assert next_exponent(0, largest) == wanted


@given(st.integers(-126, 126), st.floats(0, 1e300))
def test_an_exponent_moves_by_at_most_two_and_stays_in_bounds(last: int, largest: float) -> None:
    found = next_exponent(last, largest)
    assert abs(found - last) <= 2 and -126 <= found <= 126


@given(st.floats(1e-30, 1e30))
def test_exponents_reach_a_scale_that_holds_the_largest_total(largest: float) -> None:
    exponent = 0
    for _ in range(60):
        exponent = next_exponent(exponent, largest)
    assert 2.0 ** (exponent - 1) < 2 * largest <= 2.0**exponent


@pytest.mark.parametrize("largest", [-1.0, math.nan, math.inf])
def test_an_impossible_largest_total_is_refused(largest: float) -> None:
    with pytest.raises(ScaleRefused):
        next_exponent(0, largest)


@given(st.lists(st.integers(1, 20), min_size=1, max_size=5), st.data())
def test_runs_of_a_vector_keep_to_their_segments_wherever_it_is_cut(lengths: list[int], data: st.DataObject) -> None:
    segments = [Segment(length, place) for place, length in enumerate(lengths)]
    owners = [place for place, length in enumerate(lengths) for _ in range(length)]
    start = data.draw(st.integers(0, len(owners)))
    stop = data.draw(st.integers(start, len(owners)))
    runs = list(runs_within(segments, start, stop))
    assert [place for place, first, end in runs for _ in range(first, end)] == owners[start:stop]
    assert [at for _, first, end in runs for at in range(first, end)] == list(range(start, stop))
    assert len({place for place, _, _ in runs}) == len(runs)


def test_the_mean_is_clipped_to_the_legal_range() -> None:
    assert weighted_mean(np.array([-9.0, 1.0, 9.0]), 2.0, 3.0).tolist() == [-3.0, 0.5, 3.0]
    for weight, limit in [(0.0, 1.0), (-1.0, 1.0), (math.nan, 1.0), (1.0, 0.0), (1.0, math.inf)]:
        with pytest.raises(ScaleRefused):
            weighted_mean(np.zeros(1), weight, limit)
