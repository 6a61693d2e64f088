"""Noise on a question's sums: OpenDP's Gaussian measurement over whole numbers, under zero-concentrated DP.

The one importer of OpenDP. Its noise on integers is the discrete Gaussian, sampled exactly (Canonne, Kamath and
Steinke, "The Discrete Gaussian for Differential Privacy", 2020); its random bytes come from OpenSSL's generator, which
the operating system seeds. For an L2 sensitivity d and a scale s it is d^2 / (2 s^2)-zCDP, so its Renyi divergence at
order a is a times that: what the ``Gaussian`` event of noise multiplier s / d is charged. OpenDP's own figure is asked
before a value is released, and one above what is charged is refused.
"""

from typing import Any, Final, Protocol

import numpy as np
import opendp.prelude as dp
from numpy.typing import NDArray

from protocol.accounting import SENSITIVITY_SLACK
from silo_node.statistics.queries import StatisticsRefused

Integers = NDArray[np.int64]

_LARGEST: Final = 2**62

dp.enable_features("contrib")


class Mechanism(Protocol):
    """Adds noise to exact sums."""

    def noised(self, sums: Integers, sensitivity: int, noise_multiplier: float) -> Integers:
        """``sums`` (k,), whose L2 sensitivity is ``sensitivity``, with noise of that many times its deviation."""
        ...


class DiscreteGaussian:
    """OpenDP's measurement, made anew for each vector."""

    def noised(self, sums: Integers, sensitivity: int, noise_multiplier: float) -> Integers:
        """Raises ``StatisticsRefused`` where OpenDP finds that it costs more than the ledger charged."""
        measurement = _measurement(len(sums), sensitivity * noise_multiplier)
        charged = ((1 + SENSITIVITY_SLACK) / noise_multiplier) ** 2 / 2
        if not measurement.map(float(sensitivity)) <= charged:
            raise StatisticsRefused("noise: the measurement costs more than was charged; nothing is released")
        if bool((np.abs(sums) >= _LARGEST).any()):
            raise StatisticsRefused("sums: too large for the noise's whole numbers; nothing is released")
        return np.array(measurement(sums.tolist()), dtype=np.int64)


def _measurement(values: int, scale: float) -> Any:
    domain = dp.vector_domain(dp.atom_domain(T="i64"), size=values)
    return dp.m.make_gaussian(domain, dp.l2_distance(T="f64"), scale=scale)
