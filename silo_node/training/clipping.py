"""How much of each record's gradient counts, and the bounds under which the charged sensitivity covers the sum."""

import math
from typing import Final, Protocol

import torch
from torch import Tensor

from silo_node.training.engine_choice import EngineChoice
from silo_node.training.errors import TrainingRefused

MAX_EXPECTED_BATCH: Final = 10_000
"""Rows a step, by published counts, that the charged sensitivity was checked for."""
MAX_ROWS: Final = 250_000
"""n terms of at most C summed in float64 are off by at most n^2 C 2^-53: 7e-6 C here."""

_ROWS_IN_DOUBLE: Final = 8
_LARGEST_NORM: Final = 1e100  # squares of what is below stay far inside float64


class ClippedSums(Protocol):
    """How per-record gradients of the logistic loss are clipped and added, one tensor a trainable parameter.

    What is clipped is what was computed: a record's norm is that of the very numbers that its share of the sum is made
    of, so no rounding before the sum can make that share larger than C.
    """

    @property
    def choice(self) -> EngineChoice:
        """Which way this is, and why."""
        ...

    def __call__(self, inputs: Tensor, target: Tensor) -> list[Tensor]:
        """float64 sums for inputs (n, ...) and target (n,), each record's gradient clipped to L2 norm C.

        A record whose gradient is not finite, for example because its target is NaN, counts as absent.
        """
        ...


class UnitSums(Protocol):
    """As `ClippedSums`, for units of several rows: a unit's gradients are added, and their sum is clipped once."""

    @property
    def choice(self) -> EngineChoice:
        """Which way this is, and why."""
        ...

    def __call__(self, inputs: Tensor, target: Tensor, units: Tensor) -> list[Tensor]:
        """Sums for inputs (n, ...), target (n,) and the unit of each row: int64 (n,), from 0 to n - 1.

        A row whose gradient is not finite counts as absent; the rest of its unit stays.
        """
        ...


def clip_factors(norms: Tensor, largest: Tensor, clip: float) -> Tensor:
    """min(1, C / norm), and 0 for a record that isn't finite or is too large to be squared exactly; all (n,)."""
    sound = torch.isfinite(norms) & (largest <= _LARGEST_NORM)
    return torch.where(sound, (clip / norms).clamp(max=1.0), 0.0)


def present(rows: Tensor, scale: Tensor) -> Tensor:
    """Rows (n, ...) with those of absent records zero: a zero factor alone would leave 0 * NaN = NaN."""
    there = scale > 0
    if rows.device.type == "cpu" and bool(there.all()):  # An accelerator would have to be waited for.
        return rows
    return torch.where(there.view(-1, *(1,) * (rows.dim() - 1)), rows, 0.0)


def scaled_sum(gradients: Tensor, scale: Tensor) -> Tensor:
    """The float64 sum (p,) of gradients (n, p), each times its factor; of those in float32 without n p float64."""
    total = scale.new_zeros(gradients.shape[1])
    for start in range(0, len(scale), _ROWS_IN_DOUBLE):
        factors = scale[start : start + _ROWS_IN_DOUBLE]
        total += factors @ present(gradients[start : start + _ROWS_IN_DOUBLE], factors).double()
    return total


def require_covered(published_rows: int, sampling_rate: float) -> None:
    """Refuse a plan whose batches are larger than the charged sensitivity was checked for; constants alone."""
    expected = published_rows * sampling_rate
    if expected > MAX_EXPECTED_BATCH:
        raise TrainingRefused(
            f"sampling_rate {sampling_rate} of {published_rows} rows: {math.ceil(expected)} a step, at most "
            f"{MAX_EXPECTED_BATCH} are covered by the charged sensitivity; lower the sampling rate"
        )
