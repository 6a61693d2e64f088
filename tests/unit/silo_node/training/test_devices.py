"""The engine stays on the model's device.

No accelerator is here: torch's meta device stands in for one. Its tensors have shapes and no values, and an operation
on it and the processor together fails: where tensors are is shown, and no more.
"""

from typing import Any

import pytest
import torch
from torch import nn

from silo_node.training.bookkeeping import BookKeeping
from silo_node.training.engine_choice import choice_for
from silo_node.training.linear_chain import LinearChain
from silo_node.training.private import OpacusHooks


def single(model: nn.Module, clip: float) -> BookKeeping:
    return BookKeeping(model, clip, choice_for(model), lambda model, shape: True)


def double(model: nn.Module, clip: float) -> BookKeeping:
    return BookKeeping(model, clip, choice_for(model))


CHAIN = [lambda: nn.Linear(16, 8), nn.ReLU, lambda: nn.Linear(8, 1)]
IMAGES = [
    lambda: nn.Unflatten(1, (1, 4, 4)),
    lambda: nn.Conv2d(1, 4, 3, padding=1),
    lambda: nn.GroupNorm(2, 4),
    nn.ReLU,
    lambda: nn.MaxPool2d(2),
    nn.Flatten,
    lambda: nn.Linear(16, 1),
]


@pytest.mark.parametrize(
    ("layers", "engine"),
    [(CHAIN, LinearChain), (CHAIN, OpacusHooks), (IMAGES, single), (IMAGES, double), (IMAGES, OpacusHooks)],
)
def test_clipped_sums_are_computed_where_the_model_is_in_double_precision(layers: list[Any], engine: Any) -> None:
    with torch.device("meta"):
        model = nn.Sequential(*(layer() for layer in layers)).double()
        inputs, target = torch.zeros(5, 16, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    found = engine(model, 1.0)(inputs, target)
    assert [total.shape for total in found] == [parameter.shape for parameter in model.parameters()]
    assert {(total.device.type, total.dtype) for total in found} == {("meta", torch.float64)}
