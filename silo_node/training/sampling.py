"""Poisson samples: of rows, or of units with all their rows."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from silo_node.training.errors import TrainingRefused
from silo_node.training.noise import Floats, NoiseSource
from silo_node.training.rows import TrainingRows


def sampled(rows: TrainingRows, rate: float, noise: NoiseSource) -> tuple[Floats, Floats]:
    """A Poisson sample of the rows, picked by index: features (m, d), raw, and target (m,)."""
    return rows.picked(noise.included(rows.count, rate))


@dataclass(frozen=True, slots=True, eq=False)
class UnitRows:
    """Rows by the unit that they are of, at most ``rows_per_unit`` of each: the first ones in the rows' order.

    order: int64 (m,), places of the rows that take part, those of a unit together. counts: int64 (units,), above 0.
    Which of a unit's rows take part depends on no other unit.
    """

    order: NDArray[np.int64]
    counts: NDArray[np.int64]

    @classmethod
    def of(cls, units: NDArray[np.int64], rows_per_unit: int) -> "UnitRows":
        """units: int64 (n,), the unit of each row, any numbers. Raises TrainingRefused."""
        if units.dtype != np.int64 or units.ndim != 1 or rows_per_unit < 1:
            raise TrainingRefused("units: must be int64 (n,), and at least one row of a unit must count")
        order = np.argsort(units, kind="stable")
        _, first, counts = np.unique(units[order], return_index=True, return_counts=True)
        place = np.arange(len(units)) - np.repeat(first, counts)
        return cls(order[place < rows_per_unit], np.minimum(counts, rows_per_unit))

    def sampled(self, inputs: Floats, target: Floats, rate: float, noise: NoiseSource) -> tuple[Tensor, Tensor, Tensor]:
        """A Poisson sample of the units: inputs (m, ...) and target (m,) of all their rows, and units int64 (m,)."""
        mask = noise.included(len(self.counts), rate)
        rows = self.order[np.repeat(mask, self.counts)]
        units = np.repeat(np.arange(int(mask.sum())), self.counts[mask])
        return torch.from_numpy(inputs[rows]), torch.from_numpy(target[rows]), torch.from_numpy(units)
