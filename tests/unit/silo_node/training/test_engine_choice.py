"""Which engine a model gets follows from its graph, and is said with a reason."""

import pytest
import torch
from torch import nn

from silo_node.training.bookkeeping import BookKeeping
from silo_node.training.engine_choice import choice_for
from silo_node.training.linear_chain import LinearChain
from silo_node.training.private import OpacusHooks, UnitHooks, clipped_sums

NORMED = [nn.Linear(4, 8), nn.Tanh(), nn.GroupNorm(2, 8), nn.Linear(8, 1)]
IMAGES = [nn.Unflatten(1, (1, 2, 2)), nn.Conv2d(1, 4, 2), nn.Flatten(), nn.Linear(4, 1)]
ONE_DIMENSION = [nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 4, 2), nn.Flatten(), nn.Linear(12, 1)]
REFLECTED = [
    nn.Unflatten(1, (1, 2, 2)),
    nn.Conv2d(1, 4, 2, padding=1, padding_mode="reflect"),
    nn.Flatten(),
    nn.Linear(36, 1),
]


@pytest.mark.parametrize(
    ("layers", "engine", "said"),
    [
        (
            [nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 1)],
            LinearChain,
            "engine=bookkeeping because every trainable parameter stands in a linear layer of one chain",
        ),
        (
            NORMED,
            BookKeeping,
            "engine=bookkeeping because every trainable parameter stands in a linear or norm layer that is used once",
        ),
        (
            IMAGES,
            BookKeeping,
            "engine=bookkeeping because every trainable parameter stands in a convolution or linear layer that is used "
            "once",
        ),
        (
            [nn.Linear(4, 1, bias=False)],
            BookKeeping,
            "engine=bookkeeping because every trainable parameter stands in a linear layer that is used once",
        ),
        (
            ONE_DIMENSION,
            OpacusHooks,
            "engine=hooks because layer 1 is a Conv1d, for which there is no closed form",
        ),
        (
            REFLECTED,
            OpacusHooks,
            "engine=hooks because layer 1 is a Conv2d padded otherwise than by a fixed number of zeros",
        ),
    ],
)
def test_a_model_gets_the_fastest_sound_engine_and_the_reason_is_said(
    layers: list[nn.Module], engine: type, said: str
) -> None:
    sums = clipped_sums(nn.Sequential(*layers).double(), 1.0)
    assert type(sums) is engine
    assert str(sums.choice) == said
    found = sums(torch.ones(3, 4, dtype=torch.float64), torch.zeros(3, dtype=torch.float64))
    assert str(sums.choice).startswith(said)
    assert any(bool(total.any()) for total in found)


def test_the_precision_is_told_once_it_is_known() -> None:
    sums = clipped_sums(nn.Sequential(*NORMED).double(), 1.0)
    assert "precision" not in str(sums.choice)
    sums(torch.ones(32, 4, dtype=torch.float64), torch.zeros(32, dtype=torch.float64))
    assert "precision" in str(sums.choice)


def test_units_of_several_rows_go_by_hooks() -> None:
    model = nn.Sequential(nn.Linear(4, 1)).double()
    assert str(UnitHooks(model, 1.0, 5).choice) == (
        "engine=hooks because a unit has up to 5 rows, whose gradients are added before they are clipped"
    )


def test_a_frozen_layer_without_a_closed_form_decides_nothing() -> None:
    model = nn.Sequential(*ONE_DIMENSION).double()
    model[1].requires_grad_(False)
    assert choice_for(model).name == "bookkeeping"
