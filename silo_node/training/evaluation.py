"""How good the model is on held-out rows: noised counts by the cells that the contract's evaluation has.

One record adds 1 to one cell, so the L2 sensitivity of all cells together is 1. Noise lies on the integers.
"""

import numpy as np
from numpy.typing import NDArray

from protocol.evaluation import ScoredEvaluation
from protocol.training_study import TrainingContract
from silo_node.training.models import logits
from silo_node.training.noise import NoiseSource
from silo_node.training.rows import TrainingRows, standardised
from silo_node.training.state import StudyState

Floats = NDArray[np.float64]


def evaluation_counts(contract: TrainingContract, rows: TrainingRows, state: StudyState, noise: NoiseSource) -> Floats:
    """Counts of the held-out rows, noised; whole numbers, perhaps negative; float64 (evaluation.values,).

    [right, wrong], or of a histogram the cells of groups (g, 2, bins), flat. A row with a missing value counts as
    predicted absent, in the lowest bin: it too moves one cell by 1.
    """
    counts = np.zeros(contract.evaluation.values)
    for features, target in rows.blocks():
        inputs = standardised(contract, features, state.mean, state.deviation)
        found = logits(contract, state.released_parameters, inputs)
        counts += np.bincount(_cells(contract, features, target, found), minlength=counts.size)
    return noise.add_gaussian(counts, contract.evaluation.noise_multiplier, 1.0)


def _cells(contract: TrainingContract, features: Floats, target: Floats, found: Floats) -> NDArray[np.int64]:
    """The cell of each row, int64 (n,), by its logit ``found`` (n,)."""
    found = np.where(np.isnan(found), -np.inf, found)
    if isinstance(contract.evaluation, ScoredEvaluation):
        return _scored_cells(contract, contract.evaluation, features, target, found)
    return np.where((found > 0) == (target > 0.5), 0, 1)


def _scored_cells(
    contract: TrainingContract, evaluation: ScoredEvaluation, features: Floats, target: Floats, found: Floats
) -> NDArray[np.int64]:
    """Of group, label and bin, the bin running fastest."""
    _, labels, bins = evaluation.shape
    edges = np.array(evaluation.edges)
    bin_of = np.searchsorted(np.log(edges / (1 - edges)), found)  # a score on an edge is not above it
    group = np.full(len(target), len(evaluation.groups), dtype=np.int64)
    names = [column.name for column in contract.data.features]
    for place, name in reversed(list(enumerate(evaluation.groups))):
        group[features[:, names.index(name)] > 0.5] = place
    label = (target > 0.5).astype(np.int64)
    cells: NDArray[np.int64] = (group * labels + label) * bins + bin_of
    return cells
