"""One private step: what stock DP-SGD leaves open stays closed.

Each hole is shown to be open in Opacus' stock path first, where it can be, so that the test is known to see it.
"""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from opacus import GradSampleModule
from opacus.optimizers import DPOptimizer
from scipy import stats
from torch import Tensor, nn

from silo_node.training.bookkeeping import BookKeeping
from silo_node.training.clipping import require_covered
from silo_node.training.engine_choice import choice_for
from silo_node.training.errors import TrainingRefused
from silo_node.training.linear_chain import LinearChain
from silo_node.training.noise import SeededNoise, SystemNoise
from silo_node.training.private import HardenedOptimizer, OpacusHooks, clipped_sums

CLIP = 0.7
SLACK = 1 + 1e-5


def network(*widths: int, seed: int = 3, scale: float = 1.0) -> nn.Sequential:
    torch.manual_seed(seed)
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.ReLU()] if layers else []
        layers.append(nn.Linear(inputs, outputs, dtype=torch.float64))
    model = nn.Sequential(*layers)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter *= scale
    return model


def batch(rows: int, features: int = 4, seed: int = 9) -> tuple[Tensor, Tensor]:
    draw = np.random.default_rng(seed)
    inputs = torch.from_numpy(draw.normal(size=(rows, features)))
    return inputs, torch.from_numpy((draw.uniform(size=rows) < 0.5).astype(np.float64))


def flat(sums: list[Tensor]) -> Tensor:
    return torch.cat([total.reshape(-1) for total in sums])


def stock_sums(model: nn.Module, inputs: Tensor, target: Tensor) -> Tensor:
    """The clipped sum of Opacus as it comes: its hooks and its optimizer."""
    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=CLIP,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    logits = wrapped(inputs.detach().requires_grad_())[:, 0]
    nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum").backward()
    optimizer.clip_and_accumulate()
    sums = flat([parameter.summed_grad for parameter in model.parameters()])
    wrapped.remove_hooks()
    return sums


def optimizer_of(model: nn.Module, noise: Any, **changes: float) -> HardenedOptimizer:
    settings: dict[str, float] = {
        "learning_rate": 1.0,
        "weight_decay": 0.0,
        "clip": CLIP,
        "noise_multiplier": 2.0,
        "normaliser": 1.0,
    }
    return HardenedOptimizer(model, noise=noise, **(settings | changes))  # type: ignore[arg-type]


def parameters_of(model: nn.Module) -> Tensor:
    return flat([parameter.detach().clone() for parameter in model.parameters()])


def double(model: nn.Module, clip: float) -> BookKeeping:
    return BookKeeping(model, clip, choice_for(model))


def single(model: nn.Module, clip: float) -> BookKeeping:
    return BookKeeping(model, clip, choice_for(model), lambda model, shape: True)


DOUBLE_ENGINES = [LinearChain, double, OpacusHooks]
ENGINES = [*DOUBLE_ENGINES, single]
SHAPES = [(4, 1), (4, 8, 1), (4, 33, 17, 1)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("scale", [0.1, 1.0, 5.0])
def test_book_keeping_and_hooks_agree_with_stock_opacus_to_a_hundred_thousandth(
    shape: tuple[int, ...], scale: float
) -> None:
    inputs, target = batch(57)
    expected = stock_sums(network(*shape, scale=scale), inputs, target)
    assert float(expected.norm()) > 0.1
    for engine in ENGINES:
        found = flat(engine(network(*shape, scale=scale), CLIP)(inputs, target))
        assert float((found - expected).norm() / expected.norm()) < 1e-5


@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("in_target", [False, True])
def test_a_broken_record_shows_in_stock_opacus_and_not_here(broken: float, in_target: bool) -> None:
    inputs, target = batch(20)
    sound = inputs[1:].clone(), target[1:].clone()
    (target if in_target else inputs[:, 2])[0] = broken
    assert not bool(torch.isfinite(stock_sums(network(4, 8, 1), inputs, target)).all())
    for engine in ENGINES:
        sums = engine(network(4, 8, 1), CLIP)
        tolerance = 1e-6 if engine is single else 1e-12
        assert torch.allclose(flat(sums(inputs, target)), flat(sums(*sound)), rtol=0, atol=tolerance)


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("weights", [1e-8, 1.0, 1e6, 1e140])
def test_a_record_added_moves_the_sum_by_at_most_the_clipping_bound(
    engine: Any, shape: tuple[int, ...], weights: float
) -> None:
    inputs, target = batch(200)
    sums = engine(network(*shape, scale=weights), CLIP)
    before = flat(sums(inputs, target))
    scales = [1e-3, 1.0, 1e3, 1e8, 1e30, 1e99, 1e101, 1e160, 1e300, math.inf, math.nan]
    for scale in scales:
        for wanted in (0.0, 1.0, math.nan):
            added = torch.cat([inputs, scale * torch.tensor([[1.0, -1.0, 0.5, 2.0]], dtype=torch.float64)])
            moved = flat(sums(added, torch.cat([target, torch.tensor([wanted], dtype=torch.float64)]))) - before
            assert float(moved.norm()) <= CLIP * SLACK


def test_ten_thousand_records_of_one_direction_stay_within_the_charged_sensitivity() -> None:
    inputs, target = torch.full((10_000, 4), 3.0, dtype=torch.float64), torch.zeros(10_000, dtype=torch.float64)
    model = network(4, 16, 1)
    for sums in (LinearChain(model, CLIP), OpacusHooks(network(4, 16, 1), CLIP)):
        moved = flat(sums(inputs, target)) - flat(sums(inputs[1:], target[1:]))
        assert CLIP * 0.999 < float(moved.norm()) <= CLIP * SLACK


@pytest.mark.parametrize("engine", DOUBLE_ENGINES)
def test_no_record_moves_anothers_gradient(engine: Any) -> None:
    inputs, target = batch(12)
    sums = engine(network(4, 8, 1), CLIP)
    alone = [flat(sums(inputs[row : row + 1], target[row : row + 1])) for row in range(12)]
    assert max(float(gradient.norm()) for gradient in alone) <= CLIP * SLACK
    assert torch.allclose(flat(sums(inputs, target)), torch.stack(alone).sum(0), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("layer", "words"),
    [
        (nn.BatchNorm1d(8).double(), "GroupNorm"),
        (nn.BatchNorm1d(8).double().eval(), "GroupNorm"),
        (nn.InstanceNorm1d(8, track_running_stats=True).double(), "GroupNorm"),
        (nn.Dropout(), "not on the list"),
        (nn.Softmax(dim=0), "not on the list"),
    ],
)
def test_a_layer_that_may_mix_records_is_refused(layer: nn.Module, words: str) -> None:
    model = nn.Sequential(nn.Linear(4, 8).double(), layer, nn.Linear(8, 1).double())
    with pytest.raises(TrainingRefused, match=words):
        clipped_sums(model, CLIP)


def test_a_parameter_used_twice_is_refused() -> None:
    shared = nn.Linear(4, 4).double()
    for model in (nn.Sequential(shared, nn.ReLU(), shared), nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)).double()):
        if model[0] is not shared:
            model[1].weight = model[0].weight
        with pytest.raises(TrainingRefused, match="exactly once"):
            clipped_sums(model, CLIP)


def test_a_model_in_single_precision_is_refused() -> None:
    with pytest.raises(TrainingRefused, match="float64"):
        clipped_sums(nn.Sequential(nn.Linear(4, 1)), CLIP)


def test_a_step_is_the_noised_sum_over_the_normaliser(noiseless: Any) -> None:
    inputs, target = batch(30)
    model = network(4, 8, 1)
    before, sums = parameters_of(model), flat(LinearChain(network(4, 8, 1), CLIP)(inputs, target))
    optimizer = optimizer_of(model, noiseless, learning_rate=0.3, weight_decay=0.1, normaliser=17.0)
    optimizer.private_step(inputs, target)
    expected = before - 0.3 * (sums / 17.0 + 0.1 * before)
    assert torch.allclose(parameters_of(model), expected, rtol=0, atol=1e-12)


def test_a_model_for_the_hooks_is_trained_as_any_other(noiseless: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("silo_node.training.physical_batches._MOST_ROWS", 64)

    def model() -> nn.Sequential:
        torch.manual_seed(7)
        return nn.Sequential(
            nn.Unflatten(1, (1, 4)), nn.Conv1d(1, 3, 2), nn.Tanh(), nn.Flatten(), nn.Linear(9, 1)
        ).double()

    inputs, target = batch(150)
    trained = model()
    before = parameters_of(trained)
    optimizer_of(trained, noiseless).private_step(inputs, target)
    whole = flat(OpacusHooks(model(), CLIP)(inputs, target))
    assert torch.allclose(before - parameters_of(trained), whole, rtol=0, atol=1e-9)


def test_a_large_batch_gives_what_its_slices_give_together(noiseless: Any) -> None:
    inputs, target = batch(5000)
    model = network(4, 8, 1)
    before = parameters_of(model)
    optimizer_of(model, noiseless).private_step(inputs, target)
    whole = flat(LinearChain(network(4, 8, 1), CLIP)(inputs, target))
    assert torch.allclose(before - parameters_of(model), whole, rtol=0, atol=1e-9)


@pytest.mark.filterwarnings("ignore::silo_node.training.noise.InsecureNoiseWarning")
def test_the_private_number_of_rows_decides_nothing() -> None:
    after = []
    for rows in (0, 3, 1000):
        model = network(4, 8, 1)
        # Rows without a gradient: only their number could show.
        inputs = torch.full((rows, 4), math.nan, dtype=torch.float64)
        optimizer = optimizer_of(model, SeededNoise(b"n"), normaliser=50.0)
        for _ in range(3):
            optimizer.private_step(inputs, torch.zeros(rows, dtype=torch.float64))
        after.append(parameters_of(model))
    assert torch.equal(after[0], after[1])
    assert torch.equal(after[0], after[2])


def test_empty_batches_are_steps_of_noise_with_the_charged_deviation() -> None:
    model = network(4, 300, 300, 1)
    optimizer = optimizer_of(model, SystemNoise(), noise_multiplier=7.6, normaliser=200.0, learning_rate=0.5)
    steps = []
    for _ in range(3):
        before = parameters_of(model)
        optimizer.private_step(torch.zeros((0, 4), dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
        steps.append(((before - parameters_of(model)) * 200.0 / 0.5 / CLIP).numpy())
    for noise in steps:
        assert noise.std() == pytest.approx(7.6, rel=0.01)
        assert stats.kstest(noise / 7.6, "norm").pvalue > 1e-8
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert abs(np.corrcoef(steps[one], steps[other])[0, 1]) < 6 / math.sqrt(len(steps[0]))


def test_torch_s_seed_decides_no_step() -> None:
    inputs, target = batch(10)
    after = []
    for _ in range(2):
        model = network(4, 1)
        optimizer = optimizer_of(model, SystemNoise())
        torch.manual_seed(0)
        optimizer.private_step(inputs, target)
        after.append(parameters_of(model))
    assert not torch.equal(after[0], after[1])


def test_hooks_take_an_empty_batch_too() -> None:
    wide = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.GroupNorm(2, 8), nn.Linear(8, 1)).double()
    sums = clipped_sums(wide, CLIP)(torch.zeros((0, 4), dtype=torch.float64), torch.zeros(0, dtype=torch.float64))
    assert not bool(flat(sums).any())


def test_batches_beyond_what_the_sensitivity_covers_are_refused_by_published_counts() -> None:
    require_covered(10_000, 1.0)
    require_covered(1_000_000, 0.01)
    with pytest.raises(TrainingRefused, match="lower the sampling rate"):
        require_covered(10_001, 1.0)


def test_a_record_too_large_to_be_squared_exactly_counts_as_absent_instead_of_by_a_wrong_norm() -> None:
    # An error of 1.4e-160 has a subnormal square, a few digits long, that an input of 1e154 blows up again.
    model = network(4, 1)
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[-368e-154, 0.0, 0.0, 0.0]]))
        model[0].bias.zero_()
    inputs, target = torch.tensor([[1e154, 0.0, 0.0, 0.0]], dtype=torch.float64), torch.zeros(1, dtype=torch.float64)
    assert float(torch.sigmoid(model(inputs))[0, 0].detach().square()) > 0
    assert not bool(flat(LinearChain(model, 1e-7)(inputs, target)).any())
