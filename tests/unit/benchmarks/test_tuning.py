"""The tuning guide's settings are studies that could be proposed, and their noise is what the guide says of it."""

import pytest

from benchmarks.cohorts.heart import heart
from benchmarks.tuning import SETTINGS, noise


def test_the_noise_of_every_setting_is_as_the_tuning_guide_has_it():
    found = {line["setting"]: line for line in noise(heart(), 1.0)}
    assert found.keys() == SETTINGS.keys()
    drafted, longer = found["as drafted"], found["45 rounds of 5 steps"]
    assert drafted["noise_multiplier"] == pytest.approx(29.02, abs=0.01)
    # Three times the steps cost the root of three; half the rows double the noise in the mean.
    assert longer["noise_multiplier"] == pytest.approx(3**0.5 * drafted["noise_multiplier"], rel=1e-3)
    assert found["75 rounds of 1 step"]["noise_multiplier"] == drafted["noise_multiplier"]
    assert found["half of the rows"]["noise_of_mean"] == pytest.approx(2 * drafted["noise_of_mean"], rel=0.01)
    # Sampling saves nothing here: what it takes from the noise multiplier it takes from the batch.
    assert found["sampling rate a tenth"]["noise_of_mean"] > drafted["noise_of_mean"]
