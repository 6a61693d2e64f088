"""A statistics study in one process: every silo's sums with the product's own mechanism, added in the clear.

That is what a sealed sum opens to. No ledger is charged, and the exact sums are told too: the rows are mock ones, or
public.
"""

import os
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.accounting import epsilon_at
from protocol.rounds import round_layout
from protocol.sealing.decode import Segment, dequantise
from protocol.simulation import SimulatedSilo, StatisticsSimulated
from protocol.statistics_study import StatisticsContract, exponent_of
from silo_node.sealing.quantise import Quantiser, cryptographic_uniforms, source_of
from silo_node.simulation.rows import values_of
from silo_node.statistics.contributions import GRAINS, Rows, sums_of
from silo_node.statistics.mechanism import DiscreteGaussian, Mechanism
from silo_node.statistics.totals import noised_totals

Floats = NDArray[np.float64]

SYSTEM: Final = DiscreteGaussian()


def simulate_statistics(
    contract: StatisticsContract, silos: Sequence[SimulatedSilo], mechanism: Mechanism = SYSTEM
) -> StatisticsSimulated:
    """The opened total over all silos. Raises ``DatasetRefused`` or ``Malformed`` where a silo's rows can't be had."""
    rows = [clamped(contract, values_of(contract, one)) for one in silos]
    noised, clipped = opened([noised_totals(contract, one, mechanism) for one in rows], contract)
    privacy = contract.privacy
    dearest = max(contract.cost(silo, privacy.order) for silo in contract.silo_names)
    return StatisticsSimulated(
        type="statistics",
        noised=tuple(noised.tolist()),
        exact=tuple(exact_totals(contract, rows).tolist()),
        clipped=clipped,
        epsilon=epsilon_at(dearest, privacy.delta, privacy.order),
    )


def clamped(contract: StatisticsContract, values: Floats) -> Floats:
    """Values (n, d) clamped to the contract's ranges; NaN stays."""
    low = np.array([column.minimum for column in contract.data.reads])
    high = np.array([column.maximum for column in contract.data.reads])
    return np.clip(values, low, high)


def exact_totals(contract: StatisticsContract, silos: Sequence[Floats]) -> Floats:
    """The sums over all silos' rows without noise, as the study's vector."""
    each = [Rows(contract.data.reads, values) for values in silos]
    sums = [sum(sums_of(one.question, rows) for rows in each) for one in contract.queries]
    return np.concatenate([np.atleast_1d(one) for one in sums]) / GRAINS


def opened(vectors: Sequence[Floats], contract: StatisticsContract) -> tuple[Floats, int]:
    """What the silos' vectors open to when they are sealed and added, and how many values were clipped."""
    segments = [Segment(one.question.values, exponent_of(contract, one)) for one in contract.queries]
    part = round_layout(contract, 0, len(vectors)).parts[0]
    sums, clipped = np.zeros(part.values, dtype=np.uint64), 0
    for vector in vectors:
        quantiser = Quantiser(source_of(vector), segments, part.level_bits, cryptographic_uniforms(os.urandom(32)))
        sums += quantiser.read(0, part.values)
        clipped += quantiser.clipped
    return dequantise(sums, part, len(vectors), segments), clipped
