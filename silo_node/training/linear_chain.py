"""Clipped sums in closed form for linear layers with ReLU between them, without a graph and in double precision."""

import torch
from torch import Tensor, nn

from silo_node.training.clipping import clip_factors, present
from silo_node.training.engine_choice import EngineChoice


class LinearChain:
    """The `ClippedSums` of an MLP or of logistic regression: no per-record gradient is ever made.

    A record's gradient in a linear layer is the outer product of the error behind it and the input before it:
    its norm is the product of theirs, and the clipped sum over records is one matrix product (Goodfellow,
    "Efficient Per-Example Gradient Computations", 2015; Bu et al., "Differentially Private Optimization on Large
    Model at Small Cost", 2023).
    """

    choice = EngineChoice("bookkeeping", "every trainable parameter stands in a linear layer of one chain")

    def __init__(self, model: nn.Sequential, clip: float) -> None:
        self._linear = [layer for layer in model if isinstance(layer, nn.Linear)]
        self._clip = clip

    @torch.no_grad()
    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        """See `ClippedSums`."""
        befores = self._forward(inputs)
        errors = self._backward(befores, target)
        sizes = torch.stack([_squares(before) for before in befores]) + 1.0
        steepness = torch.stack([_squares(error) for error in errors])
        largest = torch.maximum(sizes, steepness).amax(0)
        scale = clip_factors((sizes * steepness).sum(0).sqrt(), largest.sqrt(), self._clip)
        sums = []
        for before, error in zip(befores, errors, strict=True):
            weighted = present(error, scale) * scale[:, None]
            sums += [weighted.T @ present(before, scale), weighted.sum(0)]
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
        logits = befores.pop()
        errors = [_logit_errors(logits, target)]
        for layer, before in zip(self._linear[:0:-1], befores[:0:-1], strict=True):
            errors.append((errors[-1] @ layer.weight) * (before > 0))
        return errors[::-1]


def _squares(rows: Tensor) -> Tensor:
    """The squared norms (n,) of rows (n, k), without k n squares in memory."""
    norms: Tensor = torch.linalg.vector_norm(rows, dim=1)
    return norms.square()


def _logit_errors(logits: Tensor, target: Tensor) -> Tensor:
    """The logistic loss's gradient at the logits (n, k): that of the first, zero at others."""
    error = torch.zeros_like(logits)
    error[:, 0] = torch.sigmoid(logits[:, 0]) - target
    return error
