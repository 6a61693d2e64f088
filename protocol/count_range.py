"""Whether an evaluation's counts fit the range that its contract encodes them on.

A silo's count of right (or wrong) held-out rows beyond 2^e is clipped to 2^e: the accuracy that the totals then tell
is of nothing, and looks as sure as any other.
"""

import math
from typing import Final

from protocol.training_study import TrainingContract

DEVIATIONS: Final = 4
"""So many standard deviations of the split and of the noise are left room for: beyond is one study in ten thousand."""


def largest_count(contract: TrainingContract) -> tuple[str, float]:
    """The silo that holds out most rows, and the largest noised count of it that has to be expected."""
    terms = max(contract.silos, key=lambda one: one.rows)
    share = contract.evaluation.test_share
    split = math.sqrt(terms.rows * share * (1 - share))
    return terms.silo, terms.rows * share + DEVIATIONS * math.hypot(split, contract.evaluation.noise_multiplier)


def least_exponent(contract: TrainingContract) -> int:
    """The least ``sealing.evaluation_exponent`` that holds the counts of every silo of ``contract``."""
    return math.ceil(math.log2(largest_count(contract)[1]))


def counts_fit(contract: TrainingContract) -> bool:
    return contract.sealing.evaluation_exponent >= least_exponent(contract)
