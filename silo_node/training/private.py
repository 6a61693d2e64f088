"""DP-SGD steps (Abadi et al., 2016) behind Opacus' optimizer, with what its stock path leaves open closed.

The rules, each a regression test:
1. A record whose gradient or its norm is not finite contributes zero, as if it were absent.
2. Sampling rate, normaliser and noise are constants of the contract; the private number of rows is never used.
3. Noise and sampling come from a cryptographic source that is passed in, never from torch's generators.
4. A layer that mixes the records of a batch, or that is not on the list, is refused; so is a shared parameter.
5. An empty batch is a step like any other: noise alone.
6. Clip, noise multiplier and normaliser stay what they were: schedulers are refused.
7. The sensitivity is C: norms are those of the very gradients that are added, norms and sums are float64, whose
   rounding, with that of the noise grid, stays far below the slack of 1e-5 that is charged.
"""

from collections.abc import Iterator

import torch
from opacus import GradSampleModule
from opacus.optimizers.optimizer_fast_gradient_clipping import DPOptimizerFastGradientClipping
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from silo_node.training.bookkeeping import BookKeeping
from silo_node.training.clipping import ClippedSums, clip_factors, present, scaled_sum
from silo_node.training.engine_choice import EngineChoice, choice_for, is_linear_chain
from silo_node.training.errors import TrainingRefused
from silo_node.training.linear_chain import LinearChain
from silo_node.training.noise import NoiseSource, grid_step
from silo_node.training.physical_batches import PhysicalBatches, batches_for
from silo_node.training.place_independence import alike_in_all_places
from silo_node.training.separability import require_separable, trainable


def clipped_sums(model: nn.Module, clip: float) -> ClippedSums:
    """The fastest way for this model that keeps the bound. Raises TrainingRefused on a model that rule 4 forbids."""
    choice = choice_for(model)
    if choice.name == "hooks":
        return OpacusHooks(model, clip, choice)
    if isinstance(model, nn.Sequential) and is_linear_chain(model):
        return LinearChain(model, clip)
    return BookKeeping(model, clip, choice, alike_in_all_places)


class _Samples:
    """Each record's gradient from Opacus' hooks, float64 (n, parameter's size), one tensor a trainable parameter."""

    def __init__(self, model: nn.Module) -> None:
        self.parameters = trainable(model)
        self._model = GradSampleModule(model, batch_first=True, loss_reduction="sum")

    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        self._model.zero_grad(set_to_none=True)
        # Torch warns of a backward hook behind which no input wants a gradient.
        watched = inputs.detach().requires_grad_()
        loss = binary_cross_entropy_with_logits(self._model(watched)[:, 0], target, reduction="sum")
        loss.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
        # Opacus hangs the per-record gradients on the parameters themselves.
        samples: list[Tensor | None] = [vars(parameter).get("grad_sample") for parameter in self.parameters]
        self._model.zero_grad(set_to_none=True)
        return [_one_a_record(sample, len(inputs)) for sample in samples]


class OpacusHooks:
    """Clipped sums from the per-record gradients of Opacus' hooks: for every other model on the list of layers."""

    def __init__(self, model: nn.Module, clip: float, choice: EngineChoice | None = None) -> None:
        self.choice = choice or EngineChoice("hooks", "it was asked for")
        self._samples = _Samples(model)
        self._clip = clip

    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        """See `ClippedSums`."""
        if not len(inputs):
            return [torch.zeros_like(parameter) for parameter in self._samples.parameters]
        gradients = self._samples(inputs, target)
        norms = _norms(gradients)
        return _added(gradients, clip_factors(norms, norms, self._clip), self._samples.parameters)


class UnitHooks:
    """The `UnitSums` of any model on the list of layers, from the per-record gradients of Opacus' hooks."""

    def __init__(self, model: nn.Module, clip: float, rows_per_unit: int) -> None:
        self.choice = choice_for(model, rows_per_unit)
        self._samples = _Samples(model)
        self._clip = clip

    def __call__(self, inputs: Tensor, target: Tensor, units: Tensor) -> list[Tensor]:
        """See `UnitSums`."""
        if not len(inputs):
            return [torch.zeros_like(parameter) for parameter in self._samples.parameters]
        rows = self._samples(inputs, target)
        norms = _norms(rows)
        # A factor of 1 or 0: rows are dropped here, and nothing is clipped yet.
        sound = clip_factors(norms, norms, float("inf"))
        joined = [_joined(gradient, sound, units) for gradient in rows]
        norms = _norms(joined)
        return _added(joined, clip_factors(norms, norms, self._clip), self._samples.parameters)


class HardenedOptimizer(DPOptimizerFastGradientClipping):  # type: ignore[misc]  # Opacus is untyped
    """Opacus' optimizer with the noise of a passed-in source, over plain SGD on the parameters that aren't frozen.

    The gradient of a step is (clipped sum + noise of standard deviation noise_multiplier * clip) / normaliser.
    rows_per_unit: the most rows of one unit of privacy; above 1, steps take units.
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
        rows_per_unit: int = 1,
    ) -> None:
        require_separable(model)
        super().__init__(
            torch.optim.SGD(trainable(model), lr=learning_rate, weight_decay=weight_decay),
            noise_multiplier=noise_multiplier,
            max_grad_norm=clip,
            expected_batch_size=normaliser,
            loss_reduction="mean",
        )
        self._model = model
        self._charged = (clip, noise_multiplier, normaliser)
        self._sums = clipped_sums(model, clip) if rows_per_unit == 1 else UnitHooks(model, clip, rows_per_unit)
        self._batches: PhysicalBatches | None = None
        self._noise = noise

    @property
    def choice(self) -> EngineChoice:
        """Which engine this is, and why; complete once a step was run."""
        return self._sums.choice

    def private_step(self, inputs: Tensor, target: Tensor, units: Tensor | None = None) -> None:
        """One step on a sampled batch: inputs (n, ...), target (n,), both float64; n may be 0.

        units: int64 (n,), the unit of each row, where units have several rows; those of one stand together.
        """
        if (self.max_grad_norm, self.noise_multiplier, self.expected_batch_size) != self._charged:
            # What schedulers do: the noise would follow, and what was clipped would not.
            raise TrainingRefused("optimizer: clip, noise and normaliser are the contract's, and may not be changed")
        self.zero_grad(set_to_none=True)
        pieces = self._piecewise(inputs, target, units)
        totals = next(pieces, None) or [torch.zeros_like(parameter) for parameter in self.params]
        for sums in pieces:
            for total, piece in zip(totals, sums, strict=True):
                total += piece
        # Not before: Opacus' hooks clear what hangs on parameters.
        for parameter, total in zip(self.params, totals, strict=True):
            parameter.grad = total
        self.step()

    def accumulate(self) -> None:
        """Opacus' hook before the noise: the clipped sum as it is, not a copy of it."""
        for parameter in self.params:
            parameter.summed_grad = parameter.grad

    def add_noise(self) -> None:
        """Opacus' hook between clipping and scaling: noise on the integer grid, from the source."""
        deviation, step = self.noise_multiplier * self.max_grad_norm, grid_step(self.max_grad_norm)
        for parameter in self.params:
            noised = self._noise.add_gaussian(parameter.summed_grad.cpu().numpy(), deviation, step)
            parameter.grad = torch.from_numpy(noised).to(parameter.device)

    def _piecewise(self, inputs: Tensor, target: Tensor, units: Tensor | None) -> Iterator[list[Tensor]]:
        """The clipped sums of piece after piece, on the model's device."""
        if (units is None) == isinstance(self._sums, UnitHooks):
            raise TrainingRefused("units: are needed where a unit has several rows, and nowhere else")
        if self._batches is None:
            self._batches = batches_for(
                self._model,
                inputs.shape[1:],
                padded=isinstance(self._sums, BookKeeping),
                written_out=isinstance(self._sums, OpacusHooks | UnitHooks),
            )
        rows = (inputs, target) if units is None else (inputs, target, units)
        pieces = self._batches.of(*rows) if units is None else self._batches.of_units(*rows)
        device = self.params[0].device
        return (self._sums(*(tensor.to(device) for tensor in piece)) for piece in pieces)


def _one_a_record(sample: Tensor | None, records: int) -> Tensor:
    if sample is None or len(sample) != records:
        raise TrainingRefused("model: a trainable parameter isn't used, or not record by record; freeze or remove it")
    return sample.reshape(records, -1)


def _norms(gradients: list[Tensor]) -> Tensor:
    return torch.stack([gradient.square().sum(1) for gradient in gradients]).sum(0).sqrt()


def _joined(gradient: Tensor, sound: Tensor, units: Tensor) -> Tensor:
    """Gradients (units, p) of the units whose rows' are given, (n, p), without the rows that aren't sound."""
    joined = gradient.new_zeros(int(units.max()) + 1, gradient.shape[1])
    return joined.index_add_(0, units, present(gradient, sound))


def _added(gradients: list[Tensor], scale: Tensor, parameters: list[nn.Parameter]) -> list[Tensor]:
    pairs = zip(gradients, parameters, strict=True)
    return [scaled_sum(gradient, scale).view_as(parameter) for gradient, parameter in pairs]
