"""Whether a record's gradient has the same bits in every place of a batch on this processor.

Adding a record moves others to other places. A matrix product may add up in another order there, and each of 10,000
other records would then move by its rounding: 1e-16 of itself in double precision, 6e-8 in single precision, which
together is more than the slack of 1e-5. So single precision is used only where nothing moves: for batches of one
fixed shape, in which one record, put in all places, comes out alike in all of them, to the bit.

The records and parameters tried are made of fixed numbers whose sums depend on their order. No row takes part.
"""

from typing import Final

import torch
from torch import Tensor, nn

from silo_node.training.bookkeeping import record_gradients

_TRIES: Final = 3


def alike_in_all_places(model: nn.Module, shape: torch.Size) -> bool:
    """Whether ``model`` treats all places of inputs of ``shape`` (n, ...) alike. Overwrites its parameters."""
    with torch.no_grad():
        for place, parameter in enumerate(model.parameters()):
            spread = 2.0 / max(1, parameter[0].numel()) ** 0.5
            parameter.copy_(_scattered(parameter.numel(), place + 1).view_as(parameter) * spread)
    return all(_alike(model, shape, number) for number in range(_TRIES))


def _alike(model: nn.Module, shape: torch.Size, number: int) -> bool:
    kind = next(model.parameters())
    record = _scattered(shape[1:].numel(), 100 + number).view(1, *shape[1:]).to(kind)
    inputs, target = record.expand(shape).contiguous(), torch.full(shape[:1], number % 2).to(kind)
    parts = [part for gradients in record_gradients(model, inputs, target).values() for part in gradients.parts]
    # Zeros come out alike however they were added up.
    return all(bool(part.any()) and _rows_alike(part) for part in parts)


def _rows_alike(rows: Tensor) -> bool:
    return torch.equal(rows[1:], rows[:1].expand_as(rows[1:]))


def _scattered(count: int, start: int) -> Tensor:
    """``count`` numbers in [-1, 1) with full mantissas: float64 (count,), the same on every machine but for the last
    bits."""
    spread = torch.sin(torch.arange(1, count + 1, dtype=torch.float64) * 12.9898 + start * 78.233) * 43758.5453
    return 2.0 * (spread - spread.floor()) - 1.0
