"""Holes of the stock path, each shown to be open there and closed here.

More of them stand in test_private.py (records that are not finite) and test_bookkeeping.py (ghost norms of layers).
"""

from typing import Any

import numpy as np
import pytest
import torch
from opacus import GradSampleModule, PrivacyEngine
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from opacus.schedulers import ExponentialGradClip
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from silo_node.training.errors import TrainingRefused
from silo_node.training.noise import SystemNoise
from silo_node.training.private import HardenedOptimizer, UnitHooks, clipped_sums
from silo_node.training.rows import TrainingRows
from silo_node.training.sampling import sampled
from tests.per_record import flat

CLIP = 0.5

pytestmark = [
    pytest.mark.filterwarnings("ignore:Full backward hook"),  # of Opacus, where no input wants a gradient
    pytest.mark.filterwarnings("ignore:Secure RNG turned off"),
]


def linear() -> nn.Sequential:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(4, 1)).double()


def ours(model: nn.Module, noise: Any = None) -> HardenedOptimizer:
    return HardenedOptimizer(
        model,
        learning_rate=1.0,
        weight_decay=0.0,
        clip=CLIP,
        noise_multiplier=1.0,
        normaliser=1.0,
        noise=noise or SystemNoise(),
    )


def ghost_sum(model: nn.Module, inputs: Tensor, target: Tensor, decay: float = 1.0) -> tuple[Tensor, float]:
    """What stock ghost clipping adds up, and the bound that its noise is then made for."""
    wrapped = GradSampleModuleFastGradientClipping(model, max_grad_norm=CLIP, loss_reduction="sum")
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), lr=1.0),
        noise_multiplier=0.0,
        max_grad_norm=CLIP,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    scheduler = ExponentialGradClip(optimizer, gamma=decay)
    scheduler.step()
    loss = DPLossFastGradientClipping(wrapped, optimizer, nn.BCEWithLogitsLoss(reduction="sum"), loss_reduction="sum")
    loss(wrapped(inputs), target[:, None]).backward()
    return flat([parameter.grad for parameter in model.parameters() if parameter.grad is not None]), float(
        optimizer.max_grad_norm
    )


def test_noise_of_torch_s_generator_repeats_with_its_seed_and_ours_does_not() -> None:
    def stock_step(model: nn.Module) -> None:
        wrapped = GradSampleModule(model)
        optimizer = DPOptimizer(
            torch.optim.SGD(model.parameters(), lr=1.0), noise_multiplier=1.0, max_grad_norm=CLIP, expected_batch_size=1
        )
        wrapped(torch.ones(2, 4, dtype=torch.float64, requires_grad=True)).sum().backward()
        optimizer.step()

    def our_step(model: nn.Module) -> None:
        ours(model).private_step(torch.ones(2, 4, dtype=torch.float64), torch.ones(2, dtype=torch.float64))

    released: dict[Any, list[Tensor]] = {stock_step: [], our_step: []}
    for step, found in released.items():
        for _ in range(2):
            model = linear()
            torch.manual_seed(0)
            step(model)
            found.append(flat(list(model.parameters())))
    assert torch.equal(*released[stock_step])
    assert not torch.equal(*released[our_step])


def test_a_clipping_scheduler_lowers_stock_noise_under_what_ghost_clipping_adds_and_is_refused_here() -> None:
    inputs, target = torch.full((1, 4), 50.0, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
    model = linear()
    with torch.no_grad():
        model[0].weight.fill_(-1.0)
    added, noised_for = ghost_sum(model, inputs, target, decay=0.1)
    assert float(added.norm()) > 9 * noised_for
    optimizer = ours(linear())
    ExponentialGradClip(optimizer, gamma=0.1).step()
    with pytest.raises(TrainingRefused, match="may not be changed"):
        optimizer.private_step(inputs, target)


def test_a_record_of_cancelling_positions_counts_above_the_bound_in_stock_ghost_clipping_and_not_here() -> None:
    def model() -> nn.Sequential:
        # In the loss's gradient the two positions have opposite signs: 100 and -100.
        network = nn.Sequential(nn.Unflatten(1, (2, 1)), nn.Linear(1, 1, bias=False), nn.Flatten(), nn.Linear(2, 1))
        with torch.no_grad():
            network[1].weight.fill_(0.0)
            network[3].weight.copy_(torch.tensor([[100.0, -100.0]]))
        network[3].requires_grad_(False)
        return network

    most = 0.0
    for start in range(1, 60):
        inputs, target = torch.tensor([[1e4 + start, 1e4 + start + 0.7]]), torch.tensor([1.0])
        added, _ = ghost_sum(model(), inputs, target)
        most = max(most, float(added.norm()))
        found = flat(clipped_sums(model().double(), CLIP)(inputs.double(), target.double()))
        assert 0.99 * CLIP < float(found.norm()) <= CLIP * (1 + 1e-9)
    assert most > 10 * CLIP


def test_one_row_more_changes_stock_s_rate_and_normaliser_and_nothing_here() -> None:
    def stock(rows: int) -> tuple[float, float]:
        model = nn.Linear(4, 1)
        data = TensorDataset(torch.zeros(rows, 4), torch.zeros(rows))
        _, optimizer, loader = PrivacyEngine().make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=1.0),
            data_loader=DataLoader(data, batch_size=4),
            noise_multiplier=1.0,
            max_grad_norm=CLIP,
        )
        return loader.sample_rate, float(optimizer.expected_batch_size)

    assert stock(8) != stock(9)

    class Watching:
        def __init__(self) -> None:
            self.rates: list[float] = []

        def included(self, rows: int, rate: float) -> Any:
            self.rates.append(rate)
            return np.zeros(rows, dtype=np.bool_)

    watching: Any = Watching()
    after = []
    for rows in (8, 9):
        model = linear()
        inputs, target = map(torch.from_numpy, sampled(TrainingRows(np.ones((rows, 4)), np.zeros(rows)), 0.5, watching))
        watching.add_gaussian = lambda sums, deviation, step: sums + 1.0
        ours(model, watching).private_step(inputs, target)
        after.append(flat(list(model.parameters())))
    assert set(watching.rates) == {0.5}
    assert torch.equal(*after)


def test_without_poisson_sampling_stock_charges_as_if_it_were_poisson_and_here_is_no_other() -> None:
    spent = []
    for poisson in (True, False):
        model = nn.Linear(4, 1)
        engine = PrivacyEngine(accountant="rdp")
        wrapped, optimizer, loader = engine.make_private(
            module=model,
            optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
            data_loader=DataLoader(TensorDataset(torch.zeros(40, 4)), batch_size=10),
            noise_multiplier=1.0,
            max_grad_norm=CLIP,
            poisson_sampling=poisson,
        )
        sizes = []
        for (rows,) in loader:
            sizes.append(len(rows))
            wrapped(rows.requires_grad_()).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
        spent.append(engine.get_epsilon(1e-5))
    assert sizes == [10, 10, 10, 10]  # fixed: each row exactly once an epoch
    assert spent[0] == spent[1]
    drawn = {len(sampled(TrainingRows(np.zeros((400, 1)), np.zeros(400)), 0.25, SystemNoise())[1]) for _ in range(12)}
    assert len(drawn) > 1


def test_a_frozen_batch_norm_keeps_the_rows_exact_mean_in_stock_and_is_refused_here() -> None:
    model = nn.Sequential(nn.BatchNorm1d(4, momentum=1.0).requires_grad_(False), nn.Linear(4, 1)).double()
    inputs = torch.arange(20.0, dtype=torch.float64).view(5, 4)
    wrapped = GradSampleModule(model, strict=False)
    wrapped(inputs.requires_grad_()).sum().backward()
    released = model.state_dict()["0.running_mean"]
    assert torch.allclose(released, inputs.mean(0))
    with pytest.raises(TrainingRefused, match="running statistics leak"):
        ours(model)


def test_an_embedding_with_max_norm_shows_who_was_in_the_batch_in_stock_and_is_refused_here() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Embedding(5, 3, max_norm=0.1), nn.Flatten(), nn.Linear(3, 1)).double()
    before = model[0].weight.detach().clone()
    GradSampleModule(model)(torch.tensor([[2]]))
    changed = (model[0].weight != before).any(1)
    assert changed.tolist() == [False, False, True, False, False]
    with pytest.raises(TrainingRefused, match="max_norm"):
        ours(model)


def test_one_person_s_five_rows_count_five_times_in_stock_and_once_where_units_are_clipped() -> None:
    inputs, target = torch.ones(5, 4, dtype=torch.float64), torch.ones(5, dtype=torch.float64)
    model = linear()
    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=1.0), noise_multiplier=0.0, max_grad_norm=CLIP, expected_batch_size=1
    )
    logits = wrapped(inputs.clone().requires_grad_())[:, 0]
    nn.functional.binary_cross_entropy_with_logits(logits, target, reduction="sum").backward()
    optimizer.clip_and_accumulate()
    assert float(flat([one.summed_grad for one in model.parameters()]).norm()) > 4.9 * CLIP
    units = torch.zeros(5, dtype=torch.int64)
    assert float(flat(UnitHooks(linear(), CLIP, 5)(inputs, target, units)).norm()) <= CLIP * (1 + 1e-9)
