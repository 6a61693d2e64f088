"""Single precision is used only where a record's place in the batch shows in none of its bits."""

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from silo_node.training import place_independence
from silo_node.training.bookkeeping import BookKeeping, record_gradients
from silo_node.training.engine_choice import choice_for
from silo_node.training.physical_batches import PhysicalBatches
from silo_node.training.place_independence import alike_in_all_places
from silo_node.training.private import HardenedOptimizer, clipped_sums
from tests.per_record import flat

CLIP = 0.5
BATCHES = PhysicalBatches(rows=64, padded=True)


def images(seed: int = 1) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(
        nn.Unflatten(1, (1, 8, 8)),
        nn.Conv2d(1, 8, 3, padding=1),
        nn.GroupNorm(4, 8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(128, 16),
        nn.ReLU(),
        nn.Linear(16, 1),
    ).double()


def rows(count: int) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(count)
    return torch.from_numpy(draw.normal(size=(count, 64))), torch.from_numpy(draw.integers(0, 2, count).astype(float))


def parts_of(model: nn.Module, inputs: Tensor, target: Tensor) -> list[Tensor]:
    found = record_gradients(model, inputs.float(), target.float()).values()
    return [part for gradients in found for part in gradients.parts]


def test_a_record_comes_out_alike_to_the_bit_wherever_it_stands_and_whatever_stands_beside_it() -> None:
    model, (inputs, target) = images().float(), rows(65)
    if not alike_in_all_places(images().float(), torch.Size((64, 64))):
        sums = clipped_sums(images(), CLIP)
        sums(inputs[:64], target[:64])
        assert "double precision" in str(sums.choice)
        return
    before = parts_of(model, *next(BATCHES.of(inputs[:63], target[:63])))
    # A record comes in first: every other one moves by one place.
    order = torch.tensor([64, *range(63)])
    after = parts_of(model, inputs[order], target[order])
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one[:63], other[1:])


def test_a_record_added_moves_the_sum_of_single_precision_passes_by_at_most_the_bound() -> None:
    inputs, target = rows(1500)
    sums = BookKeeping(images(), CLIP, choice_for(images()), lambda model, shape: True)

    def total(inputs: Tensor, target: Tensor) -> Tensor:
        return torch.stack([flat(sums(*piece)) for piece in BATCHES.of(inputs, target)]).sum(0)

    before = total(inputs, target)
    for place in (0, 700, 1500):
        more = torch.cat([inputs[:place], 1e6 * inputs[:1], inputs[place:]])
        labels = torch.cat([target[:place], 1 - target[:1], target[place:]])
        assert float((total(more, labels) - before).norm()) <= CLIP * (1 + 1e-9)


def test_a_processor_that_adds_up_otherwise_in_some_places_gets_double_precision(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    real = nn.Linear.forward

    def uneven(layer: nn.Linear, values: Tensor) -> Tensor:
        found = real(layer, values)
        last = (values[-1:] * layer.weight[:, None]).flip(-1).cumsum(-1)[..., -1].T.contiguous()
        return torch.cat([found[:-1], last.view(1, -1) + (0 if layer.bias is None else layer.bias)])

    monkeypatch.setattr(nn.Linear, "forward", uneven)
    assert not alike_in_all_places(images().float(), torch.Size((64, 64)))
    sums = clipped_sums(images(), CLIP)
    sums(*rows(32))
    assert "double precision" in str(sums.choice)


def test_a_try_in_which_nothing_happens_proves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(place_independence, "_scattered", lambda count, start: torch.zeros(count).double())
    assert not alike_in_all_places(images().float(), torch.Size((64, 64)))


def test_a_step_runs_in_batches_of_one_shape_whatever_the_number_of_rows(
    noiseless: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    shapes = set()
    real = BookKeeping.__call__

    def watched(self: BookKeeping, inputs: Tensor, target: Tensor) -> list[Tensor]:
        shapes.add(tuple(inputs.shape))
        return real(self, inputs, target)

    monkeypatch.setattr(BookKeeping, "__call__", watched)
    optimizer = HardenedOptimizer(
        images(), learning_rate=1.0, weight_decay=0.0, clip=CLIP, noise_multiplier=1.0, normaliser=9.0, noise=noiseless
    )
    for count in (1, 63, 64, 65, 130):
        optimizer.private_step(*rows(count))
    assert shapes == {(64, 64)}
