"""Rows as training sees them, and the one way raw columns become model inputs.

A column is clamped to the range of the contract's schema and mapped to [-1, 1]; the columns that the federated
normalisation covers are then standardised. No number in this comes from the silo's own rows.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.training_study import TrainingContract
from silo_node.training.errors import TrainingRefused

Floats = NDArray[np.float64]

_BLOCK_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True)
class TrainingRows:
    """One row a unit of privacy (a record, or a subject reduced to one row), in the contract's column order.

    features: float64 (m, d), raw units, unclamped, perhaps mapped from a file; target: float64 (m,), 0 or 1. places:
    which n of those m rows they are, in order; None for all. n may be 0. No copy of them all is ever made.
    Raises TrainingRefused on other shapes or types. Values are not looked at: whether one is missing or infinite
    must not decide if a round runs.
    """

    features: Floats
    target: Floats
    places: NDArray[np.intp] | None = None

    def __post_init__(self) -> None:
        if self.features.dtype != np.float64 or self.target.dtype != np.float64:
            raise TrainingRefused("rows: features and target must be float64")
        if self.features.ndim != 2 or self.target.shape != self.features.shape[:1]:
            raise TrainingRefused(
                f"rows: features have {self.features.ndim} dimensions, target {self.target.ndim}; "
                "needed are features (n, d) and target (n,) of the same n"
            )

    @property
    def count(self) -> int:
        """The private number of rows; for array shapes only, never for arithmetic that is released."""
        return len(self.target) if self.places is None else len(self.places)

    def picked(self, included: NDArray[np.bool_]) -> tuple[Floats, Floats]:
        """Features (k, d) and target (k,) of those of the n rows that are ``included`` (n,)."""
        chosen = np.flatnonzero(included)
        return self._at(chosen if self.places is None else self.places[chosen])

    def blocks(self) -> Iterator[tuple[Floats, Floats]]:
        """All n rows in order, as blocks of features and target of a bounded size."""
        step = max(1, _BLOCK_BYTES // (8 * max(1, self.features.shape[1])))
        for start in range(0, self.count, step):
            end = min(self.count, start + step)
            yield self._at(slice(start, end) if self.places is None else self.places[start:end])

    def _at(self, rows: "slice | NDArray[np.intp]") -> tuple[Floats, Floats]:
        return self.features[rows], self.target[rows]


def scaled(contract: TrainingContract, features: Floats) -> Floats:
    """Features (n, d) clamped to the contract's ranges and mapped to [-1, 1]; a missing value stays NaN."""
    columns = contract.data.features
    if features.ndim != 2 or features.shape[1] != len(columns):
        raise TrainingRefused(f"rows: the contract reads {len(columns)} features, the rows have another number")
    low = np.array([column.minimum for column in columns])
    high = np.array([column.maximum for column in columns])
    # Halves first: the width of a range may be infinite in float64 where its ends are not.
    middle, half = low / 2 + high / 2, high / 2 - low / 2
    return np.clip((np.clip(features, low, high) - middle) / half, -1.0, 1.0)


def standardised(contract: TrainingContract, features: Floats, mean: Floats, deviation: Floats) -> Floats:
    """Model inputs (n, d): scaled features less ``mean`` (d,), over ``deviation`` (d,)."""
    inputs: Floats = (scaled(contract, features) - mean) / deviation
    return inputs
