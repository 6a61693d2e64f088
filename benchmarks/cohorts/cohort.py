"""Rows of several institutions as a benchmark studies them, with the study's constants."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from silo_node.training.rows import TrainingRows

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Recipe:
    """The constants of a study but its noise.

    features, target: columns as a contract has them. normalised: names of those that are standardised.
    shares: of the privacy budget, by stage. normalisation_clip, clip: L2 norms.
    """

    title: str
    dataset: str
    legal_basis: str
    features: tuple[dict[str, Any], ...]
    target: dict[str, Any]
    normalised: tuple[str, ...]
    delta: float
    test_share: float
    shares: Mapping[str, float]
    rounds: int
    local_steps: int
    learning_rate: float
    clip: float
    normalisation_clip: float
    averaged_rounds: int


@dataclass(frozen=True, slots=True)
class Split:
    """One institution's rows: trained on, and held out."""

    training: TrainingRows
    held_out: TrainingRows

    @property
    def rows(self) -> int:
        return self.training.count + self.held_out.count


@dataclass(frozen=True, slots=True)
class Cohort:
    """All institutions' rows, by silo name, one row a person."""

    recipe: Recipe
    silos: Mapping[str, Split]

    @property
    def published(self) -> dict[str, int]:
        """Rows by silo, as their owners would publish them."""
        return {silo: split.rows for silo, split in self.silos.items()}


def split_at(features: Floats, target: Floats, training: NDArray[np.int64], held_out: NDArray[np.int64]) -> Split:
    """features (n, d) and target (n,) on the two sides, by row number."""
    return Split(TrainingRows(features[training], target[training]), TrainingRows(features[held_out], target[held_out]))


def split_by_chance(features: Floats, target: Floats, test_share: float) -> Split:
    """The same split in every run; a study's own is by a keyed hash of the person."""
    order = np.random.default_rng(43).permutation(len(target))
    held = round(test_share * len(target))
    return split_at(features, target, order[held:], order[:held])
