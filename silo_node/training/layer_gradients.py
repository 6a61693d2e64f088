"""Every record's gradient in one layer, from what went into the layer and the loss's gradient at what came out.

A record's gradient is either an outer product, whose norm is a product of norms, or it is written out. It is never
known by a "ghost norm" (the norm of a sum over positions, from the positions' inner products): that loses all its
digits where positions cancel, and a record could then count by far more than C.

Inputs are float32 or float64; norms and sums are float64 in either case. Goodfellow, "Efficient Per-Example Gradient
Computations", 2015; Rochette et al., "Efficient Per-Example Gradient Computations in Convolutional Neural Networks",
2019; Bu et al., "Differentially Private Optimization on Large Model at Small Cost", 2023.
"""

import math
from collections.abc import Callable
from typing import Any, Final, Protocol, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from silo_node.training.clipping import present, scaled_sum


class LayerGradients(Protocol):
    """n records' gradients in one layer."""

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The tensors (n, ...) that they follow from."""
        ...

    def squares(self) -> tuple[Tensor, Tensor]:
        """Squared norms, and the largest square that they were made from; float64, both (n,)."""
        ...

    def weighted(self, scale: Tensor) -> dict[str, Tensor]:
        """Sums over records of scale (n,) float64 times gradient: by name of the parameter, in its shape, float64."""
        ...


class OuterProducts:
    """Gradients of a linear layer on one vector a record: before (n, inputs) and error (n, outputs)."""

    def __init__(self, layer: nn.Linear, before: Tensor, error: Tensor) -> None:
        self.parts: tuple[Tensor, ...] = (before, error)
        self._before, self._error = before.double(), error.double()
        self._weight, self._bias = _trains(layer, "weight"), _trains(layer, "bias")

    def squares(self) -> tuple[Tensor, Tensor]:
        """See `LayerGradients`."""
        size = torch.full_like(self._error[:, 0], float(self._bias))
        if self._weight:
            size += _squared_norms(self._before)
        steepness = _squared_norms(self._error)
        return size * steepness, torch.maximum(size, steepness)

    def weighted(self, scale: Tensor) -> dict[str, Tensor]:
        """See `LayerGradients`."""
        error = present(self._error, scale) * scale[:, None]
        sums = {}
        if self._weight:
            sums["weight"] = error.T @ present(self._before, scale)
        if self._bias:
            sums["bias"] = error.sum(0)
        return sums


class WrittenOut:
    """Gradients as they are: by parameter's name, (n, ...) with the parameter's shape behind.

    orders: for a parameter whose dimensions stand in another order there, the order that brings them back.
    """

    def __init__(self, gradients: dict[str, Tensor], orders: dict[str, tuple[int, ...]] | None = None) -> None:
        self.parts: tuple[Tensor, ...] = tuple(gradients.values())
        self._gradients = {name: gradient.flatten(1) for name, gradient in gradients.items()}
        self._shapes = {name: gradient.shape[1:] for name, gradient in gradients.items()}
        self._orders = orders or {}

    def squares(self) -> tuple[Tensor, Tensor]:
        """See `LayerGradients`."""
        squares = torch.stack([_squared_norms(gradient) for gradient in self._gradients.values()]).sum(0)
        return squares, squares

    def weighted(self, scale: Tensor) -> dict[str, Tensor]:
        """See `LayerGradients`."""
        sums = {}
        for name, gradient in self._gradients.items():
            total = scaled_sum(gradient, scale).view(self._shapes[name])
            sums[name] = total.permute(self._orders[name]) if name in self._orders else total
        return sums


class LookedUp:
    """Gradients of an embedding: for each record the rows of its table that it used, each once."""

    def __init__(self, layer: nn.Embedding, before: Tensor, error: Tensor) -> None:
        self._rows = layer.num_embeddings
        index, error = before.reshape(len(before), -1), error.reshape(len(error), -1, layer.embedding_dim)
        self._index, self._error = _each_once(index, error)
        self.parts: tuple[Tensor, ...] = (self._error,)

    def squares(self) -> tuple[Tensor, Tensor]:
        """See `LayerGradients`."""
        squares = _squared_norms(self._error.double().flatten(1))
        return squares, squares

    def weighted(self, scale: Tensor) -> dict[str, Tensor]:
        """See `LayerGradients`."""
        error = present(self._error.double(), scale) * scale[:, None, None]
        table = error.new_zeros(self._rows, error.shape[2])
        return {"weight": table.index_add_(0, self._index.reshape(-1), error.reshape(-1, error.shape[2]))}


def layer_gradients(layer: nn.Module, before: Tensor, error: Tensor) -> LayerGradients:
    """What `_RULES` has for the layer; before: its input (n, ...), error: the gradient at its output (n, ...)."""
    return _RULES[type(layer)](layer, before, error)


def written_out_size(layer: nn.Module, after: torch.Size) -> int:
    """Float64 that a record's gradient takes while it is written out, with what it is made from.

    after: the shape of the layer's output for one record.
    """
    size = sum(parameter.numel() for parameter in layer.parameters(recurse=False) if parameter.requires_grad)
    if isinstance(layer, nn.Conv2d):
        window = layer.in_channels * math.prod(layer.kernel_size)
        return 3 * size + window * math.prod(after[1:])
    is_outer_product = isinstance(layer, nn.Linear) and len(after) == 1
    return 0 if is_outer_product or isinstance(layer, nn.Embedding) else 3 * size


def _linear(layer: nn.Linear, before: Tensor, error: Tensor) -> LayerGradients:
    if before.dim() == 2:
        return OuterProducts(layer, before, error)
    before, error = before.flatten(1, -2), error.flatten(1, -2)  # (n, positions, inputs or outputs)
    gradients = {}
    if _trains(layer, "weight"):
        gradients["weight"] = torch.bmm(error.transpose(1, 2), before)
    if _trains(layer, "bias"):
        gradients["bias"] = error.sum(1)
    return WrittenOut(gradients)


def _looked_up(layer: nn.Embedding, before: Tensor, error: Tensor) -> LayerGradients:
    return LookedUp(layer, before, error)


def _convolution(layer: nn.Conv2d, before: Tensor, error: Tensor) -> LayerGradients:
    gradients: dict[str, Tensor] = {}
    channels_last = before.shape[1] > 1 and before.is_contiguous(memory_format=torch.channels_last)
    if _trains(layer, "weight"):
        windows = _windows(layer, before, channels_last)
        by_group = error.reshape(len(windows), layer.out_channels // layer.groups, -1)
        per_group, size = layer.in_channels // layer.groups, layer.kernel_size
        shape = (*size, per_group) if channels_last else (per_group, *size)
        gradients["weight"] = torch.bmm(by_group, windows).view(len(error), layer.out_channels, *shape)
    if _trains(layer, "bias"):
        gradients["bias"] = error.flatten(2).sum(2)
    return WrittenOut(gradients, {"weight": (0, 3, 1, 2)} if channels_last else {})


def _windows(layer: nn.Conv2d, before: Tensor, channels_last: bool) -> Tensor:
    """What each place of the output saw: (n * groups, places, window).

    A window's values stand in the order in which ``before`` has them in memory, so that whole runs are copied:
    height, width, channel where channels are last there, else channel, height, width.
    """
    (high, wide), (down, right), (over, along) = layer.kernel_size, layer.stride, layer.dilation
    above, aside = cast("tuple[int, int]", layer.padding)  # choice_for leaves padding given as a word to the hooks
    padded = functional.pad(before, (aside, aside, above, above)) if above or aside else before
    seen = padded.unfold(2, over * (high - 1) + 1, down).unfold(3, along * (wide - 1) + 1, right)
    seen = seen[..., ::over, ::along].view(len(before), layer.groups, -1, *seen.shape[2:4], high, wide)
    groups, places = len(before) * layer.groups, seen.shape[3] * seen.shape[4]
    if channels_last:
        return seen.permute(0, 1, 3, 4, 5, 6, 2).reshape(groups, places, -1)
    return seen.permute(0, 1, 2, 5, 6, 3, 4).reshape(groups, -1, places).transpose(1, 2)


def _group_norm(layer: nn.GroupNorm, before: Tensor, error: Tensor) -> LayerGradients:
    normal = functional.group_norm(before, layer.num_groups, eps=layer.eps)
    return _affine(layer, normal, error, lambda values: values.reshape(*values.shape[:2], -1).sum(2))


def _layer_norm(layer: nn.LayerNorm, before: Tensor, error: Tensor) -> LayerGradients:
    normal = functional.layer_norm(before, layer.normalized_shape, eps=layer.eps)
    shape = layer.normalized_shape
    return _affine(layer, normal, error, lambda values: values.reshape(len(values), -1, *shape).sum(1))


def _affine(layer: nn.Module, normal: Tensor, error: Tensor, over_places: Callable[[Tensor], Tensor]) -> LayerGradients:
    gradients = {}
    if _trains(layer, "weight"):
        gradients["weight"] = over_places(error * normal)
    if _trains(layer, "bias"):
        gradients["bias"] = over_places(error)
    return WrittenOut(gradients)


def _squared_norms(rows: Tensor) -> Tensor:
    """Of rows (n, k), added up in float64 without n k of them in memory."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1, dtype=torch.float64)
    return norms.square()


def _each_once(index: Tensor, error: Tensor) -> tuple[Tensor, Tensor]:
    """Index (n, t) and error (n, t, d) with the errors of an index that a record used twice added up in one place."""
    if index.shape[1] == 1:
        return index, error
    ordered, order = index.sort(dim=1, stable=True)
    new = torch.ones_like(ordered)
    new[:, 1:] = ordered[:, 1:] != ordered[:, :-1]
    place = new.cumsum(1) - 1
    wide = (-1, -1, error.shape[2])
    sorted_errors = error.gather(1, order[..., None].expand(wide))
    added = torch.zeros_like(error).scatter_add_(1, place[..., None].expand(wide), sorted_errors)
    return torch.zeros_like(index).scatter_(1, place, ordered), added


def _trains(layer: nn.Module, name: str) -> bool:
    parameter = getattr(layer, name)
    return parameter is not None and bool(parameter.requires_grad)


_RULES: Final[dict[type[nn.Module], Callable[[Any, Tensor, Tensor], LayerGradients]]] = {
    nn.Linear: _linear,
    nn.Conv2d: _convolution,
    nn.GroupNorm: _group_norm,
    nn.LayerNorm: _layer_norm,
    nn.Embedding: _looked_up,
}
