"""Opacus as it comes, as a user would write it from its guide: single precision, torch's generator for the noise."""

from collections.abc import Callable

import torch
from opacus import GradSampleModule
from opacus.grad_sample.grad_sample_module_fast_gradient_clipping import GradSampleModuleFastGradientClipping
from opacus.optimizers import DPOptimizer
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from opacus.utils.fast_gradient_clipping_utils import DPLossFastGradientClipping
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

Step = Callable[[Tensor, Tensor], None]


def hooks_step(model: nn.Module, clip: float, noise_multiplier: float, batch: int) -> Step:
    """A step of `GradSampleModule` and `DPOptimizer`: every record's gradient is held."""
    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.0),
        noise_multiplier=noise_multiplier,
        max_grad_norm=clip,
        expected_batch_size=batch,
        loss_reduction="sum",
    )

    def step(inputs: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        binary_cross_entropy_with_logits(wrapped(inputs)[:, 0], target, reduction="sum").backward()  # type: ignore[no-untyped-call]
        optimizer.step()

    return step


def ghost_step(model: nn.Module, clip: float, noise_multiplier: float, batch: int) -> Step:
    """A step of ghost clipping: norms in one backward pass, the clipped sum in a second one."""
    wrapped = GradSampleModuleFastGradientClipping(model, max_grad_norm=clip, loss_reduction="sum")
    optimizer = DPOptimizerFastGradientClipping(
        torch.optim.SGD(model.parameters(), lr=0.0),
        noise_multiplier=noise_multiplier,
        max_grad_norm=clip,
        expected_batch_size=batch,
        loss_reduction="sum",
    )
    loss = DPLossFastGradientClipping(wrapped, optimizer, nn.BCEWithLogitsLoss(reduction="sum"), loss_reduction="sum")

    def step(inputs: Tensor, target: Tensor) -> None:
        optimizer.zero_grad()
        loss(wrapped(inputs)[:, :1], target[:, None]).backward()
        optimizer.step()

    return step


def stock_sum(model: nn.Module, clip: float, inputs: Tensor, target: Tensor) -> Tensor:
    """The clipped sum (p,) that Opacus' hooks come to, in the model's own precision."""
    wrapped = GradSampleModule(model, loss_reduction="sum")
    optimizer = DPOptimizer(
        torch.optim.SGD(model.parameters(), lr=0.0),
        noise_multiplier=0.0,
        max_grad_norm=clip,
        expected_batch_size=1,
        loss_reduction="sum",
    )
    binary_cross_entropy_with_logits(wrapped(inputs)[:, 0], target, reduction="sum").backward()  # type: ignore[no-untyped-call]
    optimizer.clip_and_accumulate()
    return torch.cat([parameter.summed_grad.reshape(-1) for parameter in optimizer.params])
