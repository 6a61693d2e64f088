"""What the noised counts of an evaluation tell of the accuracy. Without torch: the agent needs it."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.count_range import counts_fit
from protocol.evaluation import ScoredEvaluation, right_and_wrong, scores_told
from protocol.training_study import TrainingContract

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class AccuracyEstimate:
    """Accuracy over all survivors' held-out rows.

    accuracy, standard_error: None where the noise drowned the counts, or the contract's encoding clips them. The
    error adds what sampling the rows costs, p (1 - p) / n, to what the survivors' noise costs. records: the noised
    number of rows.
    """

    accuracy: float | None
    standard_error: float | None
    records: float


def estimate_accuracy(contract: TrainingContract, totals: Floats, survivors: int) -> AccuracyEstimate:
    """The accuracy that totals (evaluation.values,) of ``survivors`` silos tell.

    Of a contract whose encoding clips such counts it is none.
    """
    evaluation = contract.evaluation
    right, wrong = right_and_wrong(evaluation, totals)
    if not survivors or not counts_fit(contract):
        return AccuracyEstimate(None, None, right + wrong)
    if isinstance(evaluation, ScoredEvaluation):
        told = scores_told(evaluation, contract.sealing, totals, survivors).accuracy()
        if told is None:
            return AccuracyEstimate(None, None, right + wrong)
        return AccuracyEstimate(told.value, told.standard_error, right + wrong)
    return _counted(right, wrong, survivors * (evaluation.noise_multiplier**2 + 1 / 12))


def _counted(right: float, wrong: float, variance: float) -> AccuracyEstimate:
    """Of right / (right + wrong) noise of ``variance`` in each leaves v (right^2 + wrong^2) / (right + wrong)^4."""
    records = right + wrong
    if records < 1 or records < 2 * math.sqrt(2 * variance):
        return AccuracyEstimate(None, None, records)
    accuracy = min(max(right / records, 0.0), 1.0)
    sampling = accuracy * (1 - accuracy) / records
    error = math.sqrt(sampling + variance * (right**2 + wrong**2) / records**4)
    return AccuracyEstimate(accuracy, error, records)
