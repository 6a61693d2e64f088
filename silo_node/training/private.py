"""DP-SGD steps (Abadi et al., 2016) behind Opacus' optimizer, with what its stock path leaves open closed.

The rules, each a regression test:
1. A record whose gradient or its norm is not finite contributes zero, as if it were absent.
2. Sampling rate, normaliser and noise are constants of the contract; the private number of rows is never used.
3. Noise and sampling come from a cryptographic source that is passed in, never from torch's generators.
4. A layer that mixes the records of a batch, or that is not on the list, is refused; so is a shared parameter.
5. An empty batch is a step like any other: noise alone.
6. The sensitivity is C: per-record gradients, norms and sums are float64, whose rounding, with that of the noise
   grid, stays far below the slack of 1e-5 that is charged.
"""

import math
from typing import Final, Protocol

import torch
from opacus import GradSampleModule
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from silo_node.training.errors import TrainingRefused
from silo_node.training.graph_model import GraphModel
from silo_node.training.noise import Floats, NoiseSource, grid_step

MAX_EXPECTED_BATCH: Final = 10_000
"""Rows a step, by published counts, that the charged sensitivity was checked for."""
MAX_ROWS: Final = 250_000
"""n terms of at most C summed in float64 are off by at most n^2 C 2^-53: 7e-6 C here."""

_ROWS_AT_ONCE: Final = 2048
_LARGEST_NORM: Final = 1e100  # squares of what is below stay far inside float64
_CONTAINERS: Final = (nn.Sequential, GraphModel)
_SEPARABLE: Final = (
    *(nn.Linear, nn.Conv2d, nn.Embedding, nn.LayerNorm, nn.GroupNorm, nn.Flatten),
    *(nn.ReLU, nn.Tanh, nn.Sigmoid, nn.GELU, nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d),
)


class ClippedSums(Protocol):
    """How per-record gradients of the logistic loss are clipped and added, one tensor a parameter."""

    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        """Sums for inputs (n, d) and target (n,), each record's gradient clipped to L2 norm C."""
        ...


def clipped_sums(model: nn.Module, clip: float) -> ClippedSums:
    """The fastest exact way for this model. Raises TrainingRefused on a model that rule 4 forbids."""
    require_separable(model)
    if isinstance(model, nn.Sequential) and len(model) % 2 and all(_in_chain(*spot) for spot in enumerate(model)):
        return BookKeeping(model, clip)
    return OpacusHooks(model, clip)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training moves, in the model's order."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def require_separable(model: nn.Module) -> None:
    """Refuse a model in which one record could move another's gradient, or a parameter that is used twice."""
    for name, layer in model.named_modules():
        if isinstance(layer, nn.modules.batchnorm._NormBase):
            raise TrainingRefused(
                f"layer {name} is a {type(layer).__name__}: it mixes the records of a batch, and frozen its running "
                "statistics leak; use GroupNorm"
            )
        if type(layer) not in _CONTAINERS + _SEPARABLE:
            raise TrainingRefused(
                f"layer {name or 'of the model'}: {type(layer).__name__} is not on the list of layers"
            )
    held = [id(parameter) for _, parameter in model.named_parameters(remove_duplicate=False)]
    modules = [id(layer) for _, layer in model.named_modules(remove_duplicate=False)]
    if len(set(held)) != len(held) or len(set(modules)) != len(modules) or any(True for _ in model.buffers()):
        raise TrainingRefused("model: each parameter must be used exactly once, and there may be no buffers")
    if any(parameter.dtype != torch.float64 for parameter in model.parameters()):
        raise TrainingRefused("model: parameters must be float64, for which the sensitivity bound holds")


class BookKeeping:
    """Clipped sums in closed form for linear layers with ReLU between them, without any per-record gradient.

    A record's gradient in a linear layer is the outer product of the error behind it and the input before it:
    its norm is the product of theirs, and the clipped sum over records is one matrix product (Goodfellow,
    "Efficient Per-Example Gradient Computations", 2015; Bu et al., "Differentially Private Optimization on Large
    Model at Small Cost", 2023).
    """

    def __init__(self, model: nn.Sequential, clip: float) -> None:
        self._linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        self._clip = clip

    @torch.no_grad()
    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        """See `ClippedSums`."""
        befores = self._forward(inputs)
        errors = self._backward(befores, target)
        squares, largest = torch.zeros(len(inputs), dtype=torch.float64), torch.zeros(len(inputs), dtype=torch.float64)
        for before, error in zip(befores, errors, strict=True):
            size, steepness = before.square().sum(1) + 1.0, error.square().sum(1)
            squares += size * steepness
            largest = torch.maximum(largest, torch.maximum(size, steepness))
        scale = _clip_factors(squares.sqrt(), largest.sqrt(), self._clip)
        sums = []
        for before, error in zip(befores, errors, strict=True):
            weighted = _scaled(error, scale)
            sums += [weighted.T @ _present(before, scale), weighted.sum(0)]
        return sums

    def _forward(self, inputs: Tensor) -> list[Tensor]:
        """What goes into each linear layer, (n, inputs of the layer), and last the logits (n, 1)."""
        values = [inputs]
        for place, layer in enumerate(self._linear):
            value = layer(values[-1])
            values.append(value if place == len(self._linear) - 1 else value.relu_())
        return values

    def _backward(self, befores: list[Tensor], target: Tensor) -> list[Tensor]:
        """Each record's error behind each linear layer, (n, outputs of the layer); takes the logits away."""
        errors = [torch.sigmoid(befores.pop()) - target[:, None]]
        for layer, before in zip(self._linear[:0:-1], befores[:0:-1], strict=True):
            errors.append((errors[-1] @ layer.weight) * (before > 0))
        return errors[::-1]


class OpacusHooks:
    """Clipped sums from the per-record gradients of Opacus' hooks: for every other model on the list of layers."""

    def __init__(self, model: nn.Module, clip: float) -> None:
        self._parameters = trainable(model)
        self._model = GradSampleModule(model, batch_first=True, loss_reduction="sum")
        self._clip = clip

    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        """See `ClippedSums`."""
        if not len(inputs):
            return [torch.zeros_like(parameter) for parameter in self._parameters]
        self._model.zero_grad(set_to_none=True)
        # Torch warns of a backward hook behind which no input wants a gradient.
        watched = inputs.detach().requires_grad_()
        loss = binary_cross_entropy_with_logits(self._model(watched)[:, 0], target, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        # Opacus hangs the per-record gradients on the parameters themselves.
        samples: list[Tensor] = [vars(parameter)["grad_sample"] for parameter in self._parameters]
        gradients = [sample.reshape(len(inputs), -1) for sample in samples]
        self._model.zero_grad(set_to_none=True)
        norms = torch.stack([gradient.square().sum(1) for gradient in gradients]).sum(0).sqrt()
        scale = _clip_factors(norms, norms, self._clip)
        return [
            _scaled(gradient, scale).sum(0).view_as(parameter)
            for gradient, parameter in zip(gradients, self._parameters, strict=True)
        ]


class HardenedOptimizer(DPOptimizerFastGradientClipping):  # type: ignore[misc]  # Opacus is untyped
    """Opacus' optimizer with the noise of a passed-in source, over plain SGD.

    The gradient of a step is (clipped sum + noise of standard deviation noise_multiplier * clip) / normaliser.
    """

    def __init__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        weight_decay: float,
        clip: float,
        noise_multiplier: float,
        normaliser: float,
        noise: NoiseSource,
    ) -> None:
        super().__init__(
            torch.optim.SGD(trainable(model), lr=learning_rate, weight_decay=weight_decay),
            noise_multiplier=noise_multiplier,
            max_grad_norm=clip,
            expected_batch_size=normaliser,
            loss_reduction="mean",
        )
        self._sums = clipped_sums(model, clip)
        self._noise = noise

    def private_step(self, inputs: Tensor, target: Tensor) -> None:
        """One step on a sampled batch: inputs (n, d), target (n,), both float64; n may be 0."""
        self.zero_grad(set_to_none=True)
        totals = [torch.zeros_like(parameter) for parameter in self.params]
        for start in range(0, len(inputs), _ROWS_AT_ONCE):
            end = start + _ROWS_AT_ONCE
            for total, part in zip(totals, self._sums(inputs[start:end], target[start:end]), strict=True):
                total += part
        for parameter, total in zip(self.params, totals, strict=True):
            parameter.grad = total
        self.step()

    def add_noise(self) -> None:
        """Opacus' hook between clipping and scaling: noise on the integer grid, from the source."""
        deviation, step = self.noise_multiplier * self.max_grad_norm, grid_step(self.max_grad_norm)
        for parameter in self.params:
            noised = self._noise.add_gaussian(parameter.summed_grad.numpy(), deviation, step)
            parameter.grad = torch.from_numpy(noised)


def sampled(inputs: Floats, target: Floats, rate: float, noise: NoiseSource) -> tuple[Tensor, Tensor]:
    """A Poisson sample of the rows as tensors (m, d) and (m,), picked by index."""
    mask = noise.included(len(target), rate)
    return torch.from_numpy(inputs[mask]), torch.from_numpy(target[mask])


def require_covered(published_rows: int, sampling_rate: float) -> None:
    """Refuse a plan whose batches are larger than the charged sensitivity was checked for; constants alone."""
    expected = published_rows * sampling_rate
    if expected > MAX_EXPECTED_BATCH:
        raise TrainingRefused(
            f"sampling_rate {sampling_rate} of {published_rows} rows: {math.ceil(expected)} a step, at most "
            f"{MAX_EXPECTED_BATCH} are covered by the charged sensitivity; lower the sampling rate"
        )


def _in_chain(place: int, layer: nn.Module) -> bool:
    """Whether linear layers with biases stand at even places and ReLU at odd ones."""
    return type(layer) is nn.ReLU if place % 2 else type(layer) is nn.Linear and layer.bias is not None


def _clip_factors(norms: Tensor, largest: Tensor, clip: float) -> Tensor:
    """min(1, C / norm), and 0 for a record that isn't finite or is too large to be squared exactly."""
    sound = torch.isfinite(norms) & (largest <= _LARGEST_NORM)
    return torch.where(sound, (clip / norms).clamp(max=1.0), 0.0)


def _scaled(rows: Tensor, scale: Tensor) -> Tensor:
    return _present(rows, scale) * scale[:, None]


def _present(rows: Tensor, scale: Tensor) -> Tensor:
    """Rows with those of absent records zero: a zero factor alone would leave 0 * NaN = NaN."""
    return torch.where((scale > 0)[:, None], rows, 0.0)
