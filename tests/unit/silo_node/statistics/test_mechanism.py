"""OpenDP's noise: as wide as asked, costing what is charged, and fresh each time."""

import numpy as np
import pytest

from protocol.accounting import cost
from protocol.spend import PICOS, Gaussian
from silo_node.statistics import mechanism
from silo_node.statistics.mechanism import DiscreteGaussian
from silo_node.statistics.queries import StatisticsRefused


def test_the_noise_has_the_deviation_that_was_asked_and_no_bias():
    noise = DiscreteGaussian().noised(np.zeros(40_000, dtype=np.int64), 1 << 20, 4.0)
    assert noise.std() == pytest.approx(4 * (1 << 20), rel=0.02)
    assert abs(noise.mean()) < 5 * 4 * (1 << 20) / np.sqrt(40_000)
    assert abs(np.corrcoef(noise[:-1], noise[1:])[0, 1]) < 0.03


def test_two_releases_of_the_same_sums_have_other_noise():
    sums = np.arange(50, dtype=np.int64)
    first, second = (DiscreteGaussian().noised(sums, 1 << 20, 4.0) for _ in range(2))
    assert not np.any(first == second)


@pytest.mark.parametrize("noise_multiplier", [0.3, 1.7, 4.5504, 100.0])
@pytest.mark.parametrize("sensitivity", [1 << 20, 1_482_911])
def test_what_the_ledger_charges_is_at_least_what_opendp_says_the_noise_costs(noise_multiplier, sensitivity):
    rho = mechanism._measurement(3, sensitivity * noise_multiplier).map(float(sensitivity))
    for order in (2, 6, 64):
        event = Gaussian(kind="gaussian", noise_multiplier=noise_multiplier, count=1, unit="subject")
        assert order * rho <= cost(event, order) / PICOS <= order * rho * (1 + 3e-5)


def test_a_measurement_that_costs_more_than_was_charged_releases_nothing(monkeypatch):
    honest = mechanism._measurement
    monkeypatch.setattr(mechanism, "_measurement", lambda values, scale: honest(values, scale * 0.999))
    with pytest.raises(StatisticsRefused, match="more than was charged"):
        DiscreteGaussian().noised(np.zeros(3, dtype=np.int64), 1 << 20, 4.0)
