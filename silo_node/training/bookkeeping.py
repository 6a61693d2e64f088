"""Clipped sums for any graph of listed layers, each used once: one forward and backward pass, no second one.

What went into each trainable layer and the loss's gradient at its output are kept; `layer_gradients` makes norms and
sums of them. Passes run in single precision where `place_independence` finds that sound, else in double; norms and
sums are in double precision always.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from silo_node.training.clipping import clip_factors
from silo_node.training.engine_choice import EngineChoice
from silo_node.training.errors import TrainingRefused
from silo_node.training.layer_gradients import LayerGradients, layer_gradients

_LEADING_DIMENSIONS: Final[dict[type[nn.Module], int]] = {nn.Conv2d: 4}

PlaceCheck = Callable[[nn.Module, torch.Size], bool]


class BookKeeping:
    """The `ClippedSums` of a model for which `choice_for` says "bookkeeping".

    single: None for double precision always; else what says, for a model in float32 whose parameters it may overwrite
    and a shape of inputs (n, ...), whether single precision is sound there.
    """

    def __init__(self, model: nn.Module, clip: float, choice: EngineChoice, single: PlaceCheck | None = None) -> None:
        self._model = model
        self._clip = clip
        self._chosen = choice
        self._is_sound = single
        self._single: nn.Module | None = None
        self._shape = torch.Size()

    @property
    def choice(self) -> EngineChoice:
        """See `ClippedSums`. What precision it came to is known after the first records."""
        if not self._shape:
            return self._chosen
        if self._single is not None:
            return self._chosen.with_note(
                "passes are in single precision, which no record's place in the batch shows in"
            )
        return self._chosen.with_note("passes are in double precision")

    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        """See `ClippedSums`."""
        if not len(inputs):
            return [torch.zeros_like(parameter) for parameter in self._model.parameters() if parameter.requires_grad]
        model, dtype = self._passing(inputs.shape)
        gradients = record_gradients(model, inputs.to(dtype), target.to(dtype))
        with torch.no_grad():
            squares, largest = zip(*(gradient.squares() for gradient in gradients.values()), strict=True)
            norms = torch.stack(squares).sum(0).sqrt()
            scale = clip_factors(norms, torch.stack(largest).amax(0).sqrt(), self._clip)
            sums = {name: gradient.weighted(scale) for name, gradient in gradients.items()}
        return [sums[layer][name] for layer, name in _spots(self._model)]

    def _passing(self, shape: torch.Size) -> tuple[nn.Module, torch.dtype]:
        """The model to run for inputs of this shape, with today's parameters, and its precision."""
        if shape != self._shape:
            self._shape, self._single = shape, self._sound_copy(shape)
        if self._single is None:
            return self._model, torch.float64
        with torch.no_grad():
            for copy, parameter in zip(self._single.parameters(), self._model.parameters(), strict=True):
                copy.copy_(parameter)
        return self._single, torch.float32

    def _sound_copy(self, shape: torch.Size) -> nn.Module | None:
        if self._is_sound is None:
            return None
        copy = deepcopy(self._model).float()
        _lay_out(copy)
        return copy if self._is_sound(copy, shape) else None


@torch.no_grad()
def _lay_out(model: nn.Module) -> None:
    """Put the channels of images last in memory: pooling and copying windows are several times as fast.

    Not with GroupNorm, whose variances torch takes from single precision sums of squares then: 1e-4 off, not 1e-6.
    """
    if any(isinstance(layer, nn.GroupNorm) for layer in model.modules()):
        return
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            # Not contiguous(): that leaves the strides of a single channel, and torch goes by strides.
            layer.weight.data = torch.empty_like(layer.weight, memory_format=torch.channels_last).copy_(layer.weight)


@dataclass(frozen=True, slots=True)
class _Passed:
    """What went into a layer, what came out, and how often that had been written to when it did."""

    layer: nn.Module
    before: Tensor
    after: Tensor
    version: int


def record_gradients(model: nn.Module, inputs: Tensor, target: Tensor) -> dict[str, LayerGradients]:
    """By name of the layer, each record's gradient of the logistic loss. inputs (n, ...), target (n,), n at least 1.

    Raises TrainingRefused, whatever the values, for a layer that is used twice, not at all, or not record by record.
    """
    with _watched(model) as passed, torch.enable_grad():
        logits = model(inputs)
        loss = binary_cross_entropy_with_logits(logits[:, 0], target, reduction="sum")
    _require_record_by_record(model, passed, len(inputs))
    afters = [one.after for one in passed.values()]
    # Only what these need is computed: no gradient of a parameter.
    errors = torch.autograd.grad(loss, afters, allow_unused=True)
    found = {}
    with torch.no_grad():
        for (name, one), error in zip(passed.items(), errors, strict=True):
            if error is None:
                raise TrainingRefused(
                    f"layer {name}: the model's first logit doesn't depend on it; freeze or remove it"
                )
            found[name] = layer_gradients(one.layer, one.before, error)
    return found


@contextmanager
def _watched(model: nn.Module) -> Iterator[dict[str, _Passed]]:
    """While it lasts, what passes through each layer that has trainable parameters is kept, by the layer's name."""
    passed: dict[str, _Passed] = {}

    def keeper(name: str) -> Callable[[nn.Module, Any, Tensor], None]:
        def keep(layer: nn.Module, arguments: tuple[Tensor, ...], after: Tensor) -> None:
            if name in passed:
                raise TrainingRefused(
                    f"layer {name}: is used twice; each trainable parameter must be used exactly once"
                )
            passed[name] = _Passed(layer, arguments[0].detach(), after, after._version)

        return keep

    hooks = [layer.register_forward_hook(keeper(name)) for name, layer in _trainable_layers(model)]
    try:
        yield passed
    finally:
        for hook in hooks:
            hook.remove()


def _require_record_by_record(model: nn.Module, passed: dict[str, _Passed], records: int) -> None:
    for name, layer in _trainable_layers(model):
        if name not in passed:
            raise TrainingRefused(f"layer {name}: is not used; freeze or remove it")
        one = passed[name]
        if one.after._version != one.version:
            raise TrainingRefused(f"layer {name}: what it gave was overwritten in place, its gradient is lost")
        if not (len(one.before) == len(one.after) == records) or not _is_batch(layer, one.before):
            raise TrainingRefused(f"layer {name}: the first dimension of its input must be the records")


def _is_batch(layer: nn.Module, before: Tensor) -> bool:
    """Whether the layer takes the first dimension of its input for records, and not for something to mix."""
    if isinstance(layer, nn.LayerNorm):
        return before.dim() > len(layer.normalized_shape)
    if isinstance(layer, nn.Embedding):
        return True
    return before.dim() == _LEADING_DIMENSIONS.get(type(layer), before.dim()) and before.dim() > 1


def _trainable_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    return [
        (name, layer)
        for name, layer in model.named_modules()
        if any(parameter.requires_grad for parameter in layer.parameters(recurse=False))
    ]


def _spots(model: nn.Module) -> list[tuple[str, str]]:
    """Of each trainable parameter in the model's order, its layer's name and its own."""
    return [
        (layer, name)
        for layer, module in model.named_modules()
        for name, parameter in module.named_parameters(recurse=False)
        if parameter.requires_grad
    ]
