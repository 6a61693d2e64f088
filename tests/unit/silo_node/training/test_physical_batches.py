"""A large logical batch is summed piece by piece, and no piece is larger than memory should hold."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from silo_node.training.physical_batches import BUDGET_BYTES, PhysicalBatches, batches_for


def image_model(side: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Unflatten(1, (1, side, side)), nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.AdaptiveAvgPool2d(1),
        nn.Flatten(), nn.Linear(8, 1),
    ).double()  # fmt: skip


@pytest.mark.parametrize("side", [8, 64, 128])
def test_larger_activations_make_smaller_pieces(side: int) -> None:
    model = image_model(side)
    pieces = batches_for(model, torch.Size((side * side,)), padded=False, written_out=False)
    # A record's convolution, its output, its ReLU, and its windows alone.
    least = 8 * side * side * (2 * 8 + 2 * 8 + 9)
    assert pieces.rows * least <= BUDGET_BYTES
    assert pieces.rows == 2048 or pieces.rows * least > BUDGET_BYTES / 4


def test_gradients_that_are_written_out_count_too() -> None:
    model = nn.Sequential(nn.Linear(1000, 1000), nn.ReLU(), nn.Linear(1000, 1)).double()
    closed = batches_for(model, torch.Size((1000,)), padded=False, written_out=False)
    written = batches_for(model, torch.Size((1000,)), padded=False, written_out=True)
    assert closed.rows >= 1024
    assert written.rows * 1_002_001 * 8 <= BUDGET_BYTES


def test_a_record_too_large_for_the_budget_goes_alone() -> None:
    model = image_model(1200)
    assert batches_for(model, torch.Size((1_440_000,)), padded=True, written_out=False).rows == 1


@given(count=st.integers(0, 70), rows=st.sampled_from([1, 4, 32]))
def test_pieces_hold_every_row_once_and_padding_counts_as_absent(count: int, rows: int) -> None:
    inputs, target = torch.arange(count * 2.0).view(count, 2), torch.arange(float(count))
    plain = list(PhysicalBatches(rows, padded=False).of(inputs, target))
    assert sum(len(labels) for _, labels in plain) == count
    padded = list(PhysicalBatches(rows, padded=True).of(inputs, target))
    assert all(piece.shape == (rows, 2) and len(labels) == rows for piece, labels in padded)
    held = [float(label) for _, labels in padded for label in labels if not math.isnan(label)]
    assert held == target.tolist()


@given(counts=st.lists(st.integers(1, 6), max_size=12), rows=st.integers(1, 8))
def test_no_unit_is_cut_in_two(counts: list[int], rows: int) -> None:
    units = torch.repeat_interleave(torch.arange(len(counts)) * 3, torch.tensor(counts, dtype=torch.int64))
    inputs = units[:, None].double()
    pieces = list(PhysicalBatches(rows, padded=False).of_units(inputs, units.double(), units))
    found = [unit for _, labels, _ in pieces for unit in dict.fromkeys(labels.tolist())]
    assert found == [3.0 * unit for unit in range(len(counts))]
    for _, labels, numbers in pieces:
        assert len(labels) <= rows or len(set(numbers.tolist())) == 1
        assert sorted(set(numbers.tolist())) == list(range(int(numbers.max()) + 1))
        assert torch.equal(labels, labels[0] + 0 * labels) or len(set(numbers.tolist())) > 1
