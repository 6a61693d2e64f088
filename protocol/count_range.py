"""Whether a study's sums fit the ranges that its contract encodes them on.

A silo's count of right (or wrong) held-out rows beyond 2^e is clipped to 2^e: the accuracy that the totals then tell
is of nothing, and looks as sure as any other. So are the normalisation's sums, by which a column is scaled wrongly.
"""

import math
from dataclasses import dataclass
from typing import Final, Literal

from protocol.training_study import TrainingContract

DEVIATIONS: Final = 4
"""So many standard deviations of the split and of the noise are left room for: beyond is one study in ten thousand."""


@dataclass(frozen=True, slots=True)
class Largest:
    """The largest noised value of a round that has to be expected, at which silo, and the contract's range."""

    field: Literal["normalisation_exponent", "evaluation_exponent"]
    silo: str
    value: float
    exponent: int

    @property
    def least_exponent(self) -> int:
        """The least exponent that holds it."""
        return math.ceil(math.log2(self.value))

    @property
    def fits(self) -> bool:
        return self.exponent >= self.least_exponent


def largest_count(contract: TrainingContract) -> Largest:
    """Of the evaluation: all of a silo's held-out rows may be right, or in one cell."""
    share, noise = contract.evaluation.test_share, contract.evaluation.noise_multiplier
    return _largest(contract, "evaluation_exponent", share, noise, contract.sealing.evaluation_exponent)


def largest_sum(contract: TrainingContract) -> Largest:
    """Of the normalisation: each of a silo's training rows may add 1 to a column's values, and to its squares."""
    stage, share = contract.normalisation, 1.0 - contract.evaluation.test_share
    noise, exponent = stage.noise_multiplier * stage.clip, contract.sealing.normalisation_exponent
    return _largest(contract, "normalisation_exponent", share, noise, exponent)


def counts_fit(contract: TrainingContract) -> bool:
    """Whether no count of the evaluation would be clipped."""
    return largest_count(contract).fits


def _largest(
    contract: TrainingContract,
    field: Literal["normalisation_exponent", "evaluation_exponent"],
    share: float,
    noise: float,
    exponent: int,
) -> Largest:
    terms = max(contract.silos, key=lambda one: one.rows)
    split = math.sqrt(terms.rows * share * (1 - share))
    return Largest(field, terms.silo, terms.rows * share + DEVIATIONS * math.hypot(split, noise), exponent)
