"""Book-keeping gives what clipping every record's own gradient gives, for every layer on its list."""

import math
from copy import deepcopy
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from silo_node.training import separability
from silo_node.training.bookkeeping import BookKeeping
from silo_node.training.engine_choice import choice_for
from silo_node.training.errors import TrainingRefused
from silo_node.training.layer_gradients import layer_gradients
from silo_node.training.private import OpacusHooks, clipped_sums
from tests.per_record import clipped_sum, flat, per_record

CLIP = 0.3
FEW = settings(max_examples=12, deadline=None, derandomize=True)


class Residual(nn.Module):
    """A container as a graph makes one: its own operations treat each record by itself."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, values: Tensor) -> Tensor:
        return values + self.inner(values)


class Tokens(nn.Module):
    """Columns as numbers of categories."""

    def __init__(self, table: nn.Embedding) -> None:
        super().__init__()
        self.table = table

    def forward(self, values: Tensor) -> Tensor:
        numbers = torch.nan_to_num(values).long().clamp(0, self.table.num_embeddings - 1)
        return self.table(numbers)


class Twice(nn.Module):
    """Uses its layer twice, and says so nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(self.layer(values))


class OverwritesInPlace(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 1)

    def forward(self, values: Tensor) -> Tensor:
        return self.layer(values).mul_(2.0)


class LeavesOneOut(nn.Module):
    def __init__(self, runs_it: bool) -> None:
        super().__init__()
        self.used, self.spare, self.runs_it = nn.Linear(4, 1), nn.Linear(4, 1), runs_it

    def forward(self, values: Tensor) -> Tensor:
        if self.runs_it:
            self.spare(values)
        return self.used(values)


@pytest.fixture(autouse=True)
def listed(monkeypatch: pytest.MonkeyPatch) -> None:
    more = (Residual, Tokens, Twice, OverwritesInPlace, LeavesOneOut)
    monkeypatch.setattr(separability, "CONTAINERS", (nn.Sequential, *more))


def rows(count: int, width: int, seed: int) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(seed)
    inputs = torch.randn(count, width, generator=draw, dtype=torch.float64)
    return inputs, torch.randint(0, 2, (count,), generator=draw).double()


def check(model: nn.Module, inputs: Tensor, target: Tensor) -> None:
    model = model.double()
    gradients = per_record(model, inputs, target)
    norms = gradients.norm(dim=1)
    clip = float(norms.median()) or CLIP  # so that some are clipped and some are not
    expected = clipped_sum(gradients, clip)
    scale = max(float(expected.norm()), 1e-3)
    choice = choice_for(model)
    assert choice.name == "bookkeeping"
    double = flat(BookKeeping(model, clip, choice)(inputs, target))
    assert float((double - expected).norm()) < 1e-11 * scale
    hooks = flat(OpacusHooks(deepcopy(model), clip)(inputs, target))
    assert float((hooks - expected).norm()) < 1e-11 * scale
    single = flat(BookKeeping(model, clip, choice, lambda model, shape: True)(inputs, target))
    assert float((single - expected).norm()) < 1e-5 * max(scale, clip)


@st.composite
def convolutions(draw: Any) -> tuple[nn.Module, int]:
    """A network of one or two convolutions on images of one or two channels, and the number of its inputs."""
    groups, channels = draw(st.sampled_from([(1, 1), (1, 2), (2, 2)]))
    size, kernel = draw(st.integers(9, 11)), (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride, padding, dilation = draw(st.integers(1, 2)), draw(st.integers(0, 2)), draw(st.integers(1, 2))
    first = nn.Conv2d(channels, 4, kernel, stride, padding, dilation, groups, bias=draw(st.booleans()))
    norm = draw(st.sampled_from([nn.GroupNorm(2, 4), nn.GroupNorm(1, 4), nn.Identity()]))
    active = draw(st.sampled_from([nn.ReLU(), nn.Tanh(), nn.GELU(), nn.Sigmoid()]))
    pool = draw(st.sampled_from([nn.MaxPool2d(2, 1), nn.AvgPool2d(2), nn.AdaptiveAvgPool2d(2), nn.Identity()]))
    block = draw(st.sampled_from([nn.Identity(), Residual(nn.Conv2d(4, 4, 3, padding=1))]))
    body = nn.Sequential(nn.Unflatten(1, (channels, size, size)), first, norm, active, pool, block, nn.Flatten())
    width = body(torch.zeros(1, channels * size * size)).shape[1]
    return nn.Sequential(*body, nn.Linear(width, 1)), channels * size * size


@FEW
@given(network=convolutions(), count=st.integers(1, 9), seed=st.integers(0, 999))
def test_convolutions_norms_and_residuals_agree_with_each_record_s_own_gradient(
    network: tuple[nn.Module, int], count: int, seed: int
) -> None:
    torch.manual_seed(seed)
    model, width = network
    check(model, *rows(count, width, seed))


@FEW
@given(
    widths=st.lists(st.integers(4, 9), min_size=1, max_size=3),
    bias=st.booleans(),
    normed=st.booleans(),
    count=st.integers(1, 20),
    seed=st.integers(0, 999),
)
def test_linear_and_layer_norm_agree_with_each_record_s_own_gradient(
    widths: list[int], bias: bool, normed: bool, count: int, seed: int
) -> None:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    before = 5
    for width in widths:
        layers += [nn.Linear(before, width, bias=bias), nn.LayerNorm(width) if normed else nn.Tanh()]
        before = width
    check(nn.Sequential(*layers, nn.Linear(before, 1)), *rows(count, 5, seed))


@FEW
@given(
    tokens=st.integers(1, 6),
    table=st.integers(1, 5),
    count=st.integers(1, 9),
    seed=st.integers(0, 999),
)
@pytest.mark.filterwarnings("ignore:Full backward hook")  # of Opacus, where nothing before the layer is trained
def test_an_embedding_counts_a_category_that_a_record_used_twice_once(
    tokens: int, table: int, count: int, seed: int
) -> None:
    torch.manual_seed(seed)
    embedding = nn.Embedding(table, 3)
    head = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.LayerNorm((tokens, 4)), nn.Flatten(), nn.Linear(4 * tokens, 1))
    numbers = torch.randint(0, table, (count, tokens)).double()
    check(nn.Sequential(Tokens(embedding), *head), numbers, torch.ones(count, dtype=torch.float64))


@pytest.mark.parametrize("frozen", ["0.weight", "0.bias", "2.weight", "2.bias", "4.weight", "4.bias"])
def test_a_frozen_parameter_takes_no_part_in_norm_and_sum(frozen: str) -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.GroupNorm(2, 4), nn.Identity(), nn.Linear(4, 1))
    model.get_parameter(frozen).requires_grad_(False)
    check(model, *rows(7, 5, 1))


def test_a_frozen_backbone_may_be_used_twice_and_its_head_is_trained() -> None:
    torch.manual_seed(2)
    backbone = Twice().requires_grad_(False)
    check(nn.Sequential(backbone, nn.Linear(4, 1)), *rows(7, 4, 2))


def test_a_low_rank_change_of_a_frozen_layer_is_trained_alone() -> None:
    torch.manual_seed(3)
    frozen = nn.Linear(4, 4).requires_grad_(False)
    change = nn.Sequential(nn.Linear(4, 2, bias=False), nn.Linear(2, 4, bias=False))
    check(nn.Sequential(frozen, nn.ReLU(), Residual(change), nn.Linear(4, 1)), *rows(9, 4, 3))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Twice(), "layer layer: is used twice"),
        (OverwritesInPlace(), "overwritten in place"),
        (LeavesOneOut(runs_it=False), "layer spare: is not used"),
        (LeavesOneOut(runs_it=True), "layer spare: the model's first logit doesn't depend on it"),
        (nn.Sequential(nn.LayerNorm((7, 4)), nn.Linear(4, 1)), "layer 0: the first dimension"),
        (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv2d(7, 7, 1), nn.Flatten(), nn.Linear(4, 1)), "layer 1: the fir"),
    ],
)
def test_a_graph_that_only_running_it_shows_to_be_unsound_is_refused_whatever_the_rows(
    model: nn.Module, words: str
) -> None:
    sums = clipped_sums(model.double(), CLIP)
    with pytest.raises(TrainingRefused, match=words):
        sums(*rows(7, 4, 0))


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_a_broken_image_or_category_counts_as_absent(broken: float) -> None:
    torch.manual_seed(4)
    image = nn.Sequential(
        nn.Unflatten(1, (1, 4, 4)), nn.Conv2d(1, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(16, 1)
    ).double()
    inputs, target = rows(6, 16, 4)
    sums = BookKeeping(image, CLIP, choice_for(image))
    sound = flat(sums(inputs[1:], target[1:]))
    inputs[0, 3] = broken
    assert torch.allclose(flat(sums(inputs, target)), sound, rtol=0, atol=1e-12)
    words = nn.Sequential(Tokens(nn.Embedding(3, 2)), nn.Flatten(), nn.Linear(4, 1)).double()
    inputs, target = torch.tensor([[0.0, 1.0], [2.0, 2.0]]).double(), torch.tensor([math.nan, 1.0]).double()
    sums = BookKeeping(words, CLIP, choice_for(words))
    assert torch.allclose(flat(sums(inputs, target)), flat(sums(inputs[1:], target[1:])), rtol=0, atol=1e-12)


def test_positions_that_cancel_defeat_a_ghost_norm_and_not_ours() -> None:
    # Two positions of one record, nearly alike, with opposite errors: their gradients cancel to what is small.
    from opacus.grad_sample.linear import compute_linear_norm_sample

    layer = nn.Linear(1, 1, bias=False)
    before = torch.tensor([[[1e4], [1e4 + 1.0]]])
    error = torch.tensor([[[100.0], [-100.0]]])
    truth = 100.0
    ghost = float(compute_linear_norm_sample(layer, [before], error)[layer.weight])
    assert not 0.9 * truth < ghost < 1.1 * truth
    squares, _ = layer_gradients(layer, before, error).squares()
    assert float(squares.sqrt()) == pytest.approx(truth, rel=1e-5)
