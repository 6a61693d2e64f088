"""The federated normalisation: a noised sum of values and squares at each silo, and what the total tells.

A record's vector [u, u^2] over the contract's columns, with u in [-1, 1], is clipped to L2 norm ``clip``; that is
the sensitivity of the sum. All after the noise is post-processing, in elementwise IEEE float64: every silo reaches
the same bits.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

from protocol.training_study import TrainingContract
from silo_node.errors import SiloError

Floats = NDArray[np.float64]

DEVIATION_FLOOR: Final = 0.2
"""In units of half a column's range: what noise makes smaller would blow a column up fivefold and more."""
_GRID_BITS: Final = 40


class StatisticsRefused(SiloError):
    """Inputs or totals whose shape the contract doesn't give."""


class GaussianNoise(Protocol):
    """What this module needs of a noise source."""

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        """``sums`` plus independent Gaussian noise of that standard deviation, as multiples of ``step``."""
        ...


@dataclass(frozen=True, slots=True)
class ColumnMoments:
    """mean, deviation: float64 (d,) for all features, in scaled units; 0 and 1 for columns not covered."""

    mean: Floats
    deviation: Floats


def normalisation_sums(contract: TrainingContract, scaled: Floats, noise: GaussianNoise) -> Floats:
    """[sum u, sum u^2] of the contract's normalisation columns over the training rows, noised; float64 (2 k,).

    scaled: float64 (n, d), every feature mapped to [-1, 1]. A record with a value that isn't finite adds nothing.
    """
    return streamed_sums(contract, (scaled,), noise)


def streamed_sums(contract: TrainingContract, blocks: Iterable[Floats], noise: GaussianNoise) -> Floats:
    """``normalisation_sums`` of rows that come in ``blocks``, each float64 (m, d)."""
    stage, sums = contract.normalisation, np.zeros(2 * len(contract.normalisation.columns))
    for scaled in blocks:
        sums += _clipped_sums(contract, scaled)
    step = math.ldexp(1.0, math.frexp(stage.clip)[1] - 1 - _GRID_BITS)
    return noise.add_gaussian(sums, stage.noise_multiplier * stage.clip, step)


def _clipped_sums(contract: TrainingContract, scaled: Floats) -> Floats:
    """Of one block, float64 (2 k,), without noise."""
    if scaled.ndim != 2 or scaled.shape[1] != len(contract.data.features):
        raise StatisticsRefused(f"rows: {len(contract.data.features)} features are needed")
    values = np.clip(scaled[:, _places(contract)], -1.0, 1.0)
    values[~np.isfinite(values).all(axis=1)] = 0.0
    vectors = np.concatenate([values, values * values], axis=1)
    norms, clip = np.sqrt((vectors * vectors).sum(axis=1)), contract.normalisation.clip
    vectors *= np.minimum(1.0, clip / np.maximum(norms, clip))[:, None]
    sums: Floats = vectors.sum(axis=0)
    return sums


def column_moments(contract: TrainingContract, totals: Floats, survivors: tuple[str, ...]) -> ColumnMoments:
    """Means and deviations from the opened total (2 k,) of these silos.

    The number of records is the survivors' published one times the training share, never a private one. A mean
    is kept in [-1, 1], a deviation in [0.2, 1].
    """
    covered = len(contract.normalisation.columns)
    if totals.dtype != np.float64 or totals.shape != (2 * covered,) or not bool(np.isfinite(totals).all()):
        raise StatisticsRefused(f"total: must be {2 * covered} finite float64 values")
    published = sum(terms.rows for terms in contract.silos if terms.silo in survivors)
    records = published * (1.0 - contract.evaluation.test_share)
    if len(set(survivors)) != len(survivors) or not set(survivors) <= set(contract.silo_names) or records <= 0:
        raise StatisticsRefused(f"survivors {', '.join(survivors) or 'none'}: must be distinct silos of the contract")
    first = np.clip(totals[:covered] / records, -1.0, 1.0)
    second = np.clip(totals[covered:] / records, 0.0, 1.0)
    mean, deviation = np.zeros(len(contract.data.features)), np.ones(len(contract.data.features))
    places = _places(contract)
    mean[places] = first
    deviation[places] = np.sqrt(np.clip(second - first * first, DEVIATION_FLOOR * DEVIATION_FLOOR, 1.0))
    return ColumnMoments(mean, deviation)


def _places(contract: TrainingContract) -> list[int]:
    names = [column.name for column in contract.data.features]
    return [names.index(name) for name in contract.normalisation.columns]
