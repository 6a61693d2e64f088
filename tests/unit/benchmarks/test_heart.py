"""The heart benchmark runs the product's own parts, stays within its epsilon and learns something."""

import math

import pytest

from benchmarks.heart import measure
from benchmarks.heart_contract import heart_contract
from protocol.training_study import parameter_count

pytestmark = pytest.mark.filterwarnings("ignore::silo_node.training.noise.InsecureNoiseWarning")
PUBLISHED = {"cleveland": 303, "hungarian": 261, "switzerland": 46, "va-long-beach": 130}


def test_a_private_study_over_four_hospitals_is_charged_in_full_and_beats_guessing() -> None:
    found = measure(5.0, 1)
    assert set(found["by_hospital"]) == set(found["epsilon_spent"]) == set(PUBLISHED)
    for spent in found["epsilon_spent"].values():
        # All of it, up to the four decimals of a noise multiplier.
        assert 4.99 < spent <= 5.0
    # Always answering "ill" gives .64.
    assert found["mean_accuracy"] > 0.72
    ((estimate, error),) = found["released_estimates"]
    assert 0.02 < error < 0.05
    assert abs(estimate - found["mean_accuracy"]) < 0.2


def test_without_privacy_nothing_is_charged_and_nothing_estimated() -> None:
    found = measure(math.inf, 1)
    assert set(found["epsilon_spent"].values()) == {None}
    assert found["released_estimates"] == []
    assert found["epsilon"] == "inf"


def test_the_mlp_of_the_speed_benchmark_has_about_206000_parameters() -> None:
    assert parameter_count(heart_contract(5.0, PUBLISHED, (512, 388))) == 206_601
