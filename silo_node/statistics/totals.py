"""What a silo sends into the one round of a statistics study: every query's noised sums, one after the other."""

import numpy as np
from numpy.typing import NDArray

from protocol.statistics_study import StatisticsContract
from silo_node.statistics.contributions import GRAINS, Rows, sensitivity_of, sums_of
from silo_node.statistics.mechanism import Mechanism

Floats = NDArray[np.float64]


def noised_totals(contract: StatisticsContract, values: Floats, mechanism: Mechanism) -> Floats:
    """The vector (k,), float64: a row's largest contribution is 1. Safe to seal.

    values: float64 (n, d), the contract's columns in their order, in range or NaN where missing.
    """
    rows = Rows(contract.data.reads, values)
    parts = [
        mechanism.noised(sums_of(one.question, rows), sensitivity_of(one.question), one.noise_multiplier)
        for one in contract.queries
    ]
    return np.concatenate(parts) / GRAINS
