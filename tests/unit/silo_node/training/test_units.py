"""Units of several rows: one gradient a unit, clipped once, whatever pieces the step is summed in."""

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from silo_node.training.errors import TrainingRefused
from silo_node.training.private import HardenedOptimizer, UnitHooks
from tests.per_record import clipped_sum, flat, per_record

CLIP = 0.4


def model() -> nn.Sequential:
    torch.manual_seed(5)
    return nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.Linear(4, 1)).double()


def rows(counts: list[int]) -> tuple[Tensor, Tensor, Tensor]:
    draw = torch.Generator().manual_seed(sum(counts))
    units = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    inputs = torch.randn(len(units), 3, generator=draw, dtype=torch.float64)
    return inputs, torch.randint(0, 2, (len(units),), generator=draw).double(), units


def optimizer_of(network: nn.Module, noise: Any, rows_per_unit: int = 4) -> HardenedOptimizer:
    return HardenedOptimizer(
        network,
        learning_rate=1.0,
        weight_decay=0.0,
        clip=CLIP,
        noise_multiplier=1.0,
        normaliser=1.0,
        noise=noise,
        rows_per_unit=rows_per_unit,
    )


@settings(max_examples=15, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=8))
def test_a_unit_s_gradients_are_added_and_then_clipped_once(counts: list[int]) -> None:
    inputs, target, units = rows(counts)
    of_rows = per_record(model(), inputs, target)
    of_units = torch.zeros(len(counts), of_rows.shape[1], dtype=torch.float64).index_add(0, units, of_rows)
    found = flat(UnitHooks(model(), CLIP, 4)(inputs, target, units))
    assert torch.allclose(found, clipped_sum(of_units, CLIP), rtol=0, atol=1e-12)


def test_a_step_over_many_units_is_the_sum_over_its_pieces(noiseless: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silo_node.training.physical_batches._MOST_ROWS", 8)
    inputs, target, units = rows([3, 4, 1, 2, 4, 4, 1, 3])
    network = model()
    before = flat(list(network.parameters())).detach().clone()
    optimizer_of(network, noiseless).private_step(inputs, target, units)
    whole = flat(UnitHooks(model(), CLIP, 4)(inputs, target, units))
    assert torch.allclose(before - flat(list(network.parameters())), whole, rtol=0, atol=1e-12)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_row_that_is_not_finite_leaves_the_rest_of_its_unit(broken: float) -> None:
    inputs, target, units = rows([3, 2])
    inputs[1] = broken
    sound = torch.tensor([True, False, True, True, True])
    found = flat(UnitHooks(model(), CLIP, 4)(inputs, target, units))
    without = flat(UnitHooks(model(), CLIP, 4)(inputs[sound], target[sound], units[sound]))
    assert torch.allclose(found, without, rtol=0, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e8, 1e120, math.inf])
def test_a_unit_added_moves_the_sum_by_at_most_the_bound(scale: float) -> None:
    inputs, target, units = rows([2, 3, 1])
    sums = UnitHooks(model(), CLIP, 4)
    before = flat(sums(inputs, target, units))
    more = torch.cat([inputs, scale * torch.ones(4, 3, dtype=torch.float64)])
    added = sums(more, torch.cat([target, torch.zeros(4).double()]), torch.cat([units, torch.full((4,), 3)]))
    assert float((flat(added) - before).norm()) <= CLIP * (1 + 1e-9)


def test_no_units_are_a_step_of_noise_alone(noiseless: Any) -> None:
    network = model()
    before = flat(list(network.parameters())).detach().clone()
    optimizer_of(network, noiseless).private_step(
        torch.zeros(0, 3, dtype=torch.float64), torch.zeros(0, dtype=torch.float64), torch.zeros(0, dtype=torch.int64)
    )
    assert torch.equal(before, flat(list(network.parameters())))


def test_units_are_asked_for_where_they_have_several_rows_and_nowhere_else(noiseless: Any) -> None:
    inputs, target, units = rows([1, 1])
    with pytest.raises(TrainingRefused, match="units"):
        optimizer_of(model(), noiseless).private_step(inputs, target)
    with pytest.raises(TrainingRefused, match="units"):
        optimizer_of(model(), noiseless, rows_per_unit=1).private_step(inputs, target, units)
