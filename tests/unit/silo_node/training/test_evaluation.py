"""Two noised counts a silo, and an accuracy that says how sure it is."""

import math
from typing import Any

import numpy as np
import pytest

from protocol.study import study_id
from silo_node.training.estimate import estimate_accuracy
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.noise import SystemNoise
from silo_node.training.rows import TrainingRows
from silo_node.training.state import StudyState
from tests.whole_states import initial_state


def knowing(contract: Any) -> StudyState:
    """A state whose model predicts 1 exactly where the first feature is positive."""
    start = initial_state(contract, study_id(contract))
    return StudyState(0, start.exponents, start.mean, start.deviation, np.array([1.0, 0, 0, 0, 0]), start.summed, 0)


def test_without_noise_the_counts_are_exact(contract_of: Any, noiseless: Any) -> None:
    features = np.array([[0.5, 0, 0, 0], [-0.5, 0, 0, 0], [0.2, 0, 0, 0], [-0.1, 0, 0, 0]])
    rows = TrainingRows(features, np.array([1.0, 0.0, 0.0, 0.0]))
    contract = contract_of()
    assert evaluation_counts(contract, rows, knowing(contract), noiseless).tolist() == [3.0, 1.0]


@pytest.mark.parametrize("value", [0.5, -0.5, math.nan, math.inf, -1e300])
@pytest.mark.parametrize("target", [0.0, 1.0, math.nan])
def test_a_record_moves_one_count_by_one(contract_of: Any, noiseless: Any, value: float, target: float) -> None:
    contract = contract_of()
    features, targets = np.random.default_rng(0).uniform(-1, 1, size=(30, 4)), np.zeros(30)
    before = evaluation_counts(contract, TrainingRows(features, targets), knowing(contract), noiseless)
    more = TrainingRows(np.vstack([features, np.full((1, 4), value)]), np.append(targets, target))
    moved = evaluation_counts(contract, more, knowing(contract), noiseless) - before
    assert sorted(moved.tolist()) == [0.0, 1.0]


def test_counts_carry_whole_noise_of_the_contracts_deviation(contract_of: Any) -> None:
    contract, rows = contract_of(), TrainingRows(np.zeros((0, 4)), np.zeros(0))
    state = knowing(contract)
    drawn = np.array([evaluation_counts(contract, rows, state, SystemNoise()) for _ in range(4000)])
    assert np.array_equal(drawn, np.rint(drawn))
    assert drawn.std() == pytest.approx(math.sqrt(25 + 1 / 12), rel=6 / math.sqrt(2 * 8000))


def test_the_standard_error_is_what_repetition_shows(contract_of: Any) -> None:
    contract, silos, records, truth = contract_of(), 3, 600, 0.8
    draw = np.random.default_rng(4)
    estimates = []
    for _ in range(4000):
        right = draw.binomial(records, truth)
        noise = np.rint(draw.normal(scale=5.0, size=(silos, 2))).sum(0)
        estimates.append(estimate_accuracy(contract, np.array([right, records - right]) + noise, silos))
    found = np.array([[one.accuracy, one.standard_error] for one in estimates], dtype=np.float64)
    assert found[:, 0].mean() == pytest.approx(truth, abs=0.002)
    assert found[:, 0].std() == pytest.approx(found[:, 1].mean(), rel=0.07)
    # Sampling alone would claim less.
    assert found[:, 1].mean() > 1.05 * math.sqrt(truth * (1 - truth) / records)


def test_counts_that_drown_in_noise_tell_no_accuracy(contract_of: Any) -> None:
    for totals in ([4.0, 3.0], [-9.0, 2.0], [0.0, 0.0]):
        found = estimate_accuracy(contract_of(), np.array(totals), 3)
        assert found.accuracy is None
        assert found.standard_error is None


def test_an_accuracy_stays_between_zero_and_one(contract_of: Any) -> None:
    assert estimate_accuracy(contract_of(), np.array([510.0, -8.0]), 3).accuracy == 1.0
    assert estimate_accuracy(contract_of(), np.array([-8.0, 510.0]), 3).accuracy == 0.0


def test_counts_that_their_encoding_cuts_off_tell_no_accuracy(contract_of: Any) -> None:
    top = 2.0 ** contract_of().sealing.evaluation_exponent
    cut = estimate_accuracy(contract_of(rows=2000), np.array([3 * top, 300.0]), 3)
    assert (cut.accuracy, cut.standard_error) == (None, None)
    assert estimate_accuracy(contract_of(), np.array([200.0, 100.0]), 3).accuracy is not None
