"""Figures from noised histograms of scores: right where they can be checked, covered as often as they say."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from protocol.scores import Scores

EDGES = tuple(round(0.05 * place, 2) for place in range(1, 20))
BINS = len(EDGES) + 1


def histogram(scores: np.ndarray, labels: np.ndarray, groups: np.ndarray, of_groups: int = 1) -> np.ndarray:
    counts = np.zeros((1, of_groups, 2, BINS))
    np.add.at(counts, (0, groups, labels, np.searchsorted(EDGES, scores, side="right")), 1)
    return counts


def drawn(rng: np.random.Generator, rows: int, of_groups: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scores of a calibrated model, labels, groups."""
    scores = rng.beta(2, 3, rows)
    return scores, (rng.random(rows) < scores).astype(int), rng.integers(0, of_groups, rows)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(300, 2000))
def test_without_noise_figures_are_those_of_the_rows_with_scores_rounded_to_bins(seed: int, rows: int) -> None:
    scores, labels, groups = drawn(np.random.default_rng(seed), rows)
    found = Scores(histogram(scores, labels, groups), EDGES, 0.0)
    binned = np.searchsorted(EDGES, scores, side="right")
    assert found.rows() == rows
    auc, accuracy = found.auc(), found.accuracy()
    assert auc is not None and auc.value == pytest.approx(roc_auc_score(labels, binned), abs=1e-12)
    assert accuracy is not None and accuracy.value == pytest.approx(np.mean((scores >= 0.5) == labels), abs=1e-12)
    assert accuracy.standard_error == pytest.approx(math.sqrt(accuracy.value * (1 - accuracy.value) / rows), rel=1e-4)
    true, false = found.true_positive_rate(0.3), found.false_positive_rate(0.3)
    assert true is not None and true.value == pytest.approx(np.mean(scores[labels == 1] >= 0.3), abs=1e-12)
    assert false is not None and false.value == pytest.approx(np.mean(scores[labels == 0] >= 0.3), abs=1e-12)


def test_an_interval_of_95_percent_covers_the_truth_about_that_often_with_sampling_and_noise_together() -> None:
    rng, deviation, tries = np.random.default_rng(5), 12.0, 200
    scores, labels, groups = drawn(rng, 200_000, 2)
    truth = Scores(histogram(scores, labels, groups, 2), EDGES, 0.0)
    wanted = {
        "auc": truth.auc(),
        "true": truth.true_positive_rate(0.4, groups=(1,)),
        "gap": truth.equal_opportunity(1),
    }
    covered = dict.fromkeys(wanted, 0)
    for _ in range(tries):
        picked = rng.integers(0, len(scores), 3000)
        counts = histogram(scores[picked], labels[picked], groups[picked], 2)
        found = Scores(counts + rng.normal(0, deviation, counts.shape), EDGES, deviation**2)
        told = {
            "auc": found.auc(),
            "true": found.true_positive_rate(0.4, groups=(1,)),
            "gap": found.equal_opportunity(1),
        }
        for name, one in told.items():
            right = wanted[name]
            assert one is not None and right is not None
            value, low, high = (
                (right.estimate.value, one.estimate.low, one.estimate.high)  # type: ignore[union-attr]
                if name == "gap"
                else (right.value, one.low, one.high)  # type: ignore[union-attr]
            )
            covered[name] += low <= value <= high
    # 200 draws at .95: 4.5 deviations are .07.
    assert {name: hits / tries >= 0.88 for name, hits in covered.items()} == dict.fromkeys(covered, True)
    assert min(covered.values()) < tries  # an interval that always covers is too wide to be one


def test_a_group_that_is_served_worse_is_told_and_one_that_is_not_is_not() -> None:
    rng = np.random.default_rng(11)
    scores, labels, groups = drawn(rng, 20_000, 3)
    fair = Scores(histogram(scores, labels, groups, 3), EDGES, 100.0)
    worse = np.where((groups == 2) & (labels == 1), scores * 0.7, scores)
    unfair = Scores(histogram(worse, labels, groups, 3), EDGES, 100.0)
    equal, unequal = fair.equal_opportunity(2), unfair.equal_opportunity(2)
    assert equal is not None and equal.p_value > 0.001
    assert unequal is not None and unequal.p_value < 1e-6 and unequal.estimate.high < 0
    parity = unfair.demographic_parity(2)
    assert parity is not None and parity.estimate.high < 0


def test_of_two_models_the_better_is_told_by_a_test_that_is_seldom_wrong_where_they_are_equal() -> None:
    rng, wrong = np.random.default_rng(7), 0
    for _ in range(200):
        scores, labels, groups = drawn(rng, 4000)
        halves = rng.random(4000) < 0.5
        counts = np.concatenate([histogram(scores[side], labels[side], groups[side]) for side in (halves, ~halves)])
        found = Scores(counts + rng.normal(0, 5, counts.shape), EDGES, 25.0).second_less_first()
        assert found is not None
        wrong += found.p_value < 0.05
    assert 1 <= wrong <= 24  # .05 of 200, four deviations
    noisy = np.clip(scores + rng.normal(0, 0.3, len(scores)), 0, 1)
    counts = np.concatenate([histogram(noisy[halves], labels[halves], groups[halves]), counts[1:]])
    better = Scores(counts, EDGES, 25.0).second_less_first()
    assert better is not None and better.estimate.low > 0


def test_what_the_noise_drowned_is_not_told() -> None:
    counts = np.random.default_rng(3).normal(0, 40, (1, 1, 2, BINS))
    found = Scores(counts, EDGES, 1600.0)
    assert found.auc() is None
    assert found.calibration().count(None) == BINS


def test_a_threshold_between_edges_and_a_comparison_of_one_model_are_refused() -> None:
    found = Scores(np.ones((1, 1, 2, BINS)), EDGES, 0.0)
    with pytest.raises(ValueError, match="no edge between bins"):
        found.accuracy(0.512)
    with pytest.raises(ValueError, match="two models"):
        found.second_less_first()
    with pytest.raises(ValueError, match="counts"):
        Scores(np.ones((1, 1, 2, 3)), EDGES, 0.0)
