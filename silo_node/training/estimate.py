"""What the noised counts of an evaluation tell of the accuracy. Without torch: the agent needs it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.training_study import TrainingContract

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """Accuracy over all survivors' held-out rows.

    accuracy, standard_error: None where the noise drowned the counts. The error adds what sampling the rows
    costs, p (1 - p) / n, to what the survivors' noise costs. records: the noised number of rows.
    """

    accuracy: float | None
    standard_error: float | None
    records: float


def estimate_accuracy(contract: TrainingContract, totals: Floats, survivors: int) -> AccuracyEstimate:
    """The accuracy that totals [right, wrong] (2,) of ``survivors`` silos tell.

    Of right / (right + wrong) the noise of variance v in each cell leaves a variance of
    v (right^2 + wrong^2) / (right + wrong)^4, to first order; rounding a count to integers adds 1/12 to v.
    """
    right, wrong = float(totals[0]), float(totals[1])
    records = right + wrong
    variance = survivors * (contract.evaluation.noise_multiplier**2 + 1 / 12)
    if records < 1 or records < 2 * math.sqrt(2 * variance):
        return AccuracyEstimate(None, None, records)
    accuracy = min(max(right / records, 0.0), 1.0)
    sampling = accuracy * (1 - accuracy) / records
    error = math.sqrt(sampling + variance * (right**2 + wrong**2) / records**4)
    return AccuracyEstimate(accuracy, error, records)
