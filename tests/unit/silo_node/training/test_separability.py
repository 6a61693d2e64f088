"""Settings with which a listed layer would mix records are refused by name, and so is a model of frozen parts alone."""

import pytest
from torch import nn

from silo_node.training.errors import TrainingRefused
from silo_node.training.separability import require_separable, trainable


class Unlisted(nn.Sequential):
    """A container that the list doesn't know, though it is made from one that it knows."""


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.Embedding(3, 2, max_norm=1.0), "layer 0: Embedding with max_norm changes its weights by which rows"),
        (nn.Embedding(3, 2, scale_grad_by_freq=True), "scale_grad_by_freq"),
        (nn.Embedding(3, 2, sparse=True), "sparse"),
        (nn.Embedding(3, 2, padding_idx=0), "padding_idx"),
        (nn.Flatten(0), "start_dim 0 may join records"),
        (nn.Flatten(-2), "start_dim -2 may join records"),
        (nn.Unflatten(0, (2, 2)), "dim 0 may split the batch"),
        (nn.ReLU(inplace=True), "inplace=True"),
        (Unlisted(nn.Linear(2, 2)), "Unlisted is not on the list"),
        (nn.BatchNorm2d(2, affine=False, track_running_stats=False), "use GroupNorm"),
        (nn.BatchNorm1d(2).requires_grad_(False).eval(), "frozen its running statistics leak"),
    ],
)
def test_what_would_mix_records_is_refused_by_its_name(layer: nn.Module, words: str) -> None:
    with pytest.raises(TrainingRefused, match=words):
        require_separable(nn.Sequential(layer, nn.Linear(2, 1)).double())


def test_a_frozen_parameter_may_stand_in_two_places_and_a_trained_one_may_not() -> None:
    shared = nn.Linear(2, 2)
    model = nn.Sequential(shared, shared, nn.Linear(2, 1)).double()
    with pytest.raises(TrainingRefused, match="exactly once"):
        require_separable(model)
    shared.requires_grad_(False)
    require_separable(model)
    assert len(trainable(model)) == 2


def test_a_model_in_which_all_is_frozen_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="all its parameters are frozen"):
        require_separable(nn.Sequential(nn.Linear(2, 1)).double().requires_grad_(False))
