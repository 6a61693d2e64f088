"""A step's rows in pieces that fit into memory: the sum over a large logical batch is the sum over its pieces.

How many rows a piece takes follows from the model's shape alone. Pieces may be of one fixed shape, whatever the number
of rows: a place without a row then holds one with target NaN, which counts as absent.
"""

import math
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn

from silo_node.training.layer_gradients import written_out_size
from silo_node.training.separability import trainable

BUDGET_BYTES: Final = 64 * 2**20
"""What the activations and written-out gradients of a piece may take: little enough to stay near the processor."""

_MOST_ROWS: Final = 2048
_MOST_PLACES: Final = 64


@dataclass(frozen=True, slots=True)
class PhysicalBatches:
    """Pieces of at most ``rows`` rows; with ``padded`` each of exactly that many places."""

    rows: int
    padded: bool

    def of(self, inputs: Tensor, target: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
        """Inputs (n, ...) and target (n,) piece by piece; none for no rows."""
        for start in range(0, len(inputs), self.rows):
            piece = inputs[start : start + self.rows], target[start : start + self.rows]
            yield self._padded(*piece) if self.padded and len(piece[1]) < self.rows else piece

    def of_units(self, inputs: Tensor, target: Tensor, units: Tensor) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Pieces of whole units, numbered from 0 in each; units int64 (n,), the rows of one standing together.

        A unit of more rows than a piece has gets one of its own.
        """
        _, counts = torch.unique_consecutive(units, return_counts=True)
        start = 0
        for many in _filled(counts.tolist(), self.rows):
            end = start + sum(many)
            numbers = torch.repeat_interleave(torch.arange(len(many)), torch.tensor(many))
            yield inputs[start:end], target[start:end], numbers
            start = end

    def _padded(self, inputs: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        empty = self.rows - len(inputs)
        places = torch.cat([inputs, inputs.new_zeros(empty, *inputs.shape[1:])])
        return places, torch.cat([target, target.new_full((empty,), math.nan)])


def batches_for(model: nn.Module, record: torch.Size, *, padded: bool, written_out: bool) -> PhysicalBatches:
    """Pieces for records of this shape. written_out: whether every record's whole gradient is held at once."""
    values = _values_of_record(model, record)
    if written_out:
        values += 3 * sum(parameter.numel() for parameter in trainable(model))
    fitting = max(1, BUDGET_BYTES // (8 * values))
    most = _MOST_PLACES if padded else _MOST_ROWS
    return PhysicalBatches(min(most, 2 ** (fitting.bit_length() - 1)), padded)


def _values_of_record(model: nn.Module, record: torch.Size) -> int:
    """Values that one record's pass holds: inputs, outputs and their gradients, and gradients that are written out.

    Found by a pass on torch's meta device, where tensors have shapes and no values.
    """
    shapes = deepcopy(model).to("meta")
    held = record.numel()

    def count(layer: nn.Module, _: Any, after: Tensor) -> None:
        nonlocal held
        held += 2 * after[0].numel() + written_out_size(layer, after.shape[1:])

    for layer in shapes.modules():
        if not list(layer.children()):
            layer.register_forward_hook(count)
    with torch.no_grad():
        shapes(torch.zeros((1, *record), dtype=torch.float64, device="meta"))
    return held


def _filled(counts: list[int], rows: int) -> Iterator[list[int]]:
    """The counts in order, in runs that add up to at most ``rows``, or of one count."""
    run: list[int] = []
    for count in counts:
        if run and sum(run) + count > rows:
            yield run
            run = []
        run.append(count)
    if run:
        yield run
