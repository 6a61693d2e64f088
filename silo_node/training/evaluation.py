"""How good the model is on held-out rows: two noised counts a silo, and what their totals tell.

One record adds 1 to one of the two cells, so the L2 sensitivity of the pair is 1. Noise lies on the integers.
"""

import numpy as np
from numpy.typing import NDArray

from protocol.training_study import TrainingContract
from silo_node.training.models import logits
from silo_node.training.noise import NoiseSource
from silo_node.training.rows import TrainingRows, standardised
from silo_node.training.state import StudyState

Floats = NDArray[np.float64]


def evaluation_counts(contract: TrainingContract, rows: TrainingRows, state: StudyState, noise: NoiseSource) -> Floats:
    """[right, wrong] over the held-out rows, noised; whole numbers, perhaps negative. float64 (2,).

    A row with a missing value counts as predicted absent: it too moves one cell by 1.
    """
    inputs = standardised(contract, rows.features, state.mean, state.deviation)
    predicted = logits(contract, state.released_parameters, inputs) > 0
    right = int(np.count_nonzero(predicted == (rows.target > 0.5)))
    counts = np.array([right, rows.count - right], dtype=np.float64)
    return noise.add_gaussian(counts, contract.evaluation.noise_multiplier, 1.0)
