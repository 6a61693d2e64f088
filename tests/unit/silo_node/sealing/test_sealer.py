"""An update sealed, added and opened, with the count of what was clipped."""

import io
from collections.abc import Iterator

import numpy as np
import pytest

from protocol.sealing.addition import add_chunks
from protocol.sealing.decode import Segment
from protocol.sealing.errors import LevelsRefused, SumRejected
from protocol.sealing.parameters import Layout, Part
from protocol.sealing.secret import StudySecret
from protocol.sealing.term import seal
from silo_node.sealing.sealer import OpenedTotal, seal_update
from tests.unit.protocol.sealing.conftest import UNMASKED

SILOS = ("alpha", "bravo", "charlie")
FREEZE = bytes(range(32))


def layout_of(values: int, per_slot: int, bits: int) -> Layout:
    return Layout((Part("update", values, per_slot, bits), Part("clipped", 1, 1, values.bit_length())), len(SILOS))


def sealed(secret: StudySecret, content: bytes, name: str, segments: list[Segment], layout: Layout) -> Iterator[bytes]:
    return seal_update(io.BytesIO(content), segments, secret, FREEZE, name, layout, UNMASKED)


def exchanged(
    updates: list[np.ndarray], segments: list[Segment], per_slot: int, bits: int
) -> tuple[list[np.ndarray], int]:
    """What the silos open of the sum of these updates, in runs."""
    secret, layout = StudySecret.generate(), layout_of(updates[0].size, per_slot, bits)
    named = zip(SILOS, updates, strict=True)
    terms = [list(sealed(secret, update.tobytes(), name, segments, layout)) for name, update in named]
    served = [add_chunks([term[at] for term in terms], layout, at) for at in range(layout.chunks)]
    total = OpenedTotal(lambda: served, segments, secret, FREEZE, SILOS, layout, UNMASKED)
    return list(total), total.clipped


@pytest.mark.parametrize(("per_slot", "bits"), [(3, 13), (2, 21), (8, 3), (8, 1)])
def test_a_sum_carries_how_many_values_all_silos_clipped(per_slot: int, bits: int) -> None:
    values, segments = 700, [Segment(400, 0), Segment(300, -2)]
    updates = [np.random.default_rng(seed).normal(0.0, 0.25, values) for seed in range(3)]
    updates[1][:50] = 1e9
    limits = np.concatenate([np.full(400, 1.0), np.full(300, 0.25)])
    clipped = sum(int(np.count_nonzero(np.abs(update) > limits)) for update in updates)
    runs, counted = exchanged(updates, segments, per_slot, bits)
    total = np.concatenate(runs)
    assert clipped > 50 and counted == clipped
    plain = np.sum([np.clip(update, -limits, limits) for update in updates], axis=0)
    assert total.shape == (values,)
    assert bool((np.abs(total - plain) <= 3 * 2 * limits / (2**bits - 1)).all())


@pytest.mark.parametrize("values", [1, 7, 8, 4095 * 3])
def test_the_count_of_a_vector_that_is_clipped_throughout_is_its_length(values: int) -> None:
    for bits in (1, 2, 13):
        runs, counted = exchanged([np.full(values, 5.0)] * 3, [Segment(values, 0)], 3, bits)
        assert counted == 3 * values
        assert np.array_equal(np.concatenate(runs), np.full(values, 3.0))


A_CHUNK = 32 * 4095 * 8


@pytest.mark.parametrize("values", [A_CHUNK - 21, A_CHUNK - 3, A_CHUNK, A_CHUNK + 1])
def test_the_count_is_right_wherever_a_chunk_ends_and_no_run_is_longer_than_one(values: int) -> None:
    """One bit a digit: the count is 21 digits, and the border of the chunks lies before, in or behind them."""
    update, first = np.zeros(values), values // 2
    update[:: values // 100] = -7.0
    segments = [Segment(first, 0), Segment(values - first, 3)]
    outside = int(np.count_nonzero(update[:first]))
    runs, counted = exchanged([update] * 3, segments, 8, 1)
    assert counted == 3 * outside > 0
    assert [run.size for run in runs] == [min(values, A_CHUNK), *([values - A_CHUNK] if values > A_CHUNK else [])]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (np.zeros(9).tobytes(), "fewer values than the round has"),
        (np.zeros(10).tobytes()[:-1], "fewer values than the round has"),
        (np.zeros(11).tobytes(), "more than the 10 values"),
        (np.zeros(10).tobytes() + b"x", "more than the 10 values"),
        (np.append(np.zeros(9), np.nan).tobytes(), "1 of a block are not finite"),
    ],
)
def test_a_file_that_is_not_the_rounds_update_is_never_sealed(content: bytes, said: str) -> None:
    layout = layout_of(10, 3, 13)
    with pytest.raises(LevelsRefused, match=said):
        list(sealed(StudySecret.generate(), content, "alpha", [Segment(10, 0)], layout))


def test_a_sum_whose_last_chunk_is_no_honest_one_ends_with_a_refusal_behind_its_runs() -> None:
    """A term that an insider tagged for another layout: its padding isn't empty, which shows last."""
    segments, secret, values = [Segment(A_CHUNK, 0)], StudySecret.generate(), A_CHUNK
    layout, longer = layout_of(values, 8, 1), Layout.single(A_CHUNK + 4095 * 8, 3, 8, 1)
    zeros = np.zeros(values)
    terms = [list(sealed(secret, zeros.tobytes(), name, segments, layout)) for name in SILOS[:2]]
    ones = np.ones(longer.values, dtype=np.uint64)
    terms.append(list(seal(secret, FREEZE, SILOS[2], ones, longer, UNMASKED)))
    served = [add_chunks([term[at] for term in terms], layout, at) for at in range(layout.chunks)]
    opened, runs = OpenedTotal(lambda: served, segments, secret, FREEZE, SILOS, layout, UNMASKED), []
    with pytest.raises(SumRejected, match="padding"):
        runs.extend(opened)
    assert (layout.chunks, [run.size for run in runs]) == (2, [values])
