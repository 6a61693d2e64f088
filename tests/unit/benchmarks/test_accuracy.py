"""The accuracy benchmark runs the product's own parts, stays within its epsilon and learns something."""

import math
from pathlib import Path

import numpy as np
import pytest

from benchmarks.accuracy import federated, measure, pooled
from benchmarks.cohorts.cohort import Cohort
from benchmarks.cohorts.heart import heart, heart_contract
from benchmarks.cohorts.randhie import randhie
from benchmarks.private_study import Noiseless
from benchmarks.study_contract import study_contract
from protocol.training_study import parameter_count
from silo_node.training.noise import SeededNoise

pytestmark = pytest.mark.filterwarnings("ignore::silo_node.training.noise.InsecureNoiseWarning")
PUBLISHED = {"cleveland": 303, "hungarian": 261, "switzerland": 46, "va-long-beach": 130}


def hits(cohort: Cohort, logits: dict[str, np.ndarray]) -> float:
    return float(
        np.mean([np.mean((logits[silo] > 0) == (one.held_out.target > 0.5)) for silo, one in cohort.silos.items()])
    )


def test_a_private_study_over_four_hospitals_is_charged_in_full_and_beats_guessing(tmp_path: Path) -> None:
    cohort = heart()
    assert cohort.published == PUBLISHED
    contract = study_contract(cohort.recipe, 5.0, cohort.published)
    found = federated(contract, cohort, SeededNoise(b"one"), tmp_path)
    assert set(found.spent) == set(PUBLISHED)
    for spent in found.spent.values():
        # All of it, up to the four decimals of a noise multiplier.
        assert 4.99 < spent <= 5.0
    accuracy = hits(cohort, found.logits)
    # Always answering "ill" gives .64.
    assert accuracy > 0.72
    assert found.told is not None and found.told.accuracy is not None and found.told.standard_error is not None
    assert 0.02 < found.told.standard_error < 0.05
    assert abs(found.told.accuracy - accuracy) < 0.2


def test_without_privacy_nothing_is_charged_and_nothing_estimated() -> None:
    cohort = heart()
    contract = study_contract(cohort.recipe, math.inf, cohort.published)
    found = federated(contract, cohort, Noiseless(), None)
    assert (found.spent, found.told) == ({}, None)


def test_one_who_holds_all_rows_learns_as_much_as_six_sites_and_a_row_says_which_way(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    cohort = randhie()
    assert len(cohort.silos) == 6 and sum(cohort.published.values()) == 5908
    contract = study_contract(cohort.recipe, math.inf, cohort.published)
    ill = np.mean([one.held_out.target.mean() for one in cohort.silos.values()])
    assert hits(cohort, pooled(contract, cohort, Noiseless())) > ill
    monkeypatch.setattr("benchmarks.accuracy.EPSILONS", (math.inf, 1.0))
    rows = measure(heart(), 1)
    assert [(row["epsilon"], row["way"]) for row in rows] == [
        (epsilon, way) for epsilon in ("none", 1.0) for way in ("federated", "pooled", "local")
    ]
    assert rows[3]["epsilon_spent"].keys() == PUBLISHED.keys() and "epsilon_spent" not in rows[4]
    assert all(0.5 < row["auc"] < 1 for row in rows)


def test_the_mlp_of_the_speed_benchmark_has_about_206000_parameters() -> None:
    assert parameter_count(heart_contract(5.0, PUBLISHED, (512, 388))) == 206_601
