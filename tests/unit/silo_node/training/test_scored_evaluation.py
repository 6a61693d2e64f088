"""A histogram of scores at a silo, through the state that all agree on, to what a recipient is told."""

import io
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from protocol.errors import Malformed
from protocol.evaluation import ScoredEvaluation, cell_variance, right_and_wrong, scores_told
from protocol.rounds import last_round, plan_round, round_events
from protocol.study import contract_value, parse_training, study_id
from protocol.training_study import TrainingContract
from silo_node.agent.progress import Progress, apply_total, state_in
from silo_node.training.errors import TrainingRefused
from silo_node.training.estimate import estimate_accuracy
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.rows import TrainingRows
from silo_node.training.state import StudyState
from tests.whole_states import initial_state

EDGES = [0.1, 0.3, 0.5, 0.7, 0.9]


def scored(contract: Any, **changes: Any) -> TrainingContract:
    """The contract with a histogram, in which features c and d are yes or no and tell groups."""
    value = contract_value(contract)
    for column in value["data"]["features"][2:]:
        column |= {"kind": "binary", "minimum": 0.0, "maximum": 1.0}
    value["normalisation"]["columns"] = ["a", "b"]
    value["evaluation"] |= {"edges": EDGES, "groups": ["c", "d"]} | changes
    return parse_training(value)


def knowing(contract: TrainingContract) -> StudyState:
    """A state whose logit is three times the first feature."""
    start = initial_state(contract, study_id(contract))
    return StudyState(0, start.exponents, start.mean, start.deviation, np.array([3.0, 0, 0, 0, 0]), start.summed, 0)


def cells(contract: TrainingContract, counts: np.ndarray) -> np.ndarray:
    assert isinstance(contract.evaluation, ScoredEvaluation)
    return counts.reshape(contract.evaluation.shape)


def test_each_row_is_in_the_cell_of_its_group_label_and_score(contract_of: Any, noiseless: Any) -> None:
    contract = scored(contract_of())
    # logits 3, 0, -3: probabilities .95, .5 (on an edge: not above it), .05
    features = np.array([[1.0, 0, 1, 0], [0, 0, 1, 1], [-1, 0, 0, 1], [-1, 0, 0, 0]])
    rows = TrainingRows(features, np.array([1.0, 1.0, 0.0, 1.0]))
    found = cells(contract, evaluation_counts(contract, rows, knowing(contract), noiseless))
    assert found.shape == (3, 2, 6) and found.sum() == 4
    assert [tuple(spot) for spot in np.argwhere(found)] == [(0, 1, 2), (0, 1, 5), (1, 0, 0), (2, 1, 0)]


@settings(max_examples=60, deadline=None)
@given(
    value=st.sampled_from([0.5, -0.5, math.nan, math.inf, -1e300, 1e-300]),
    target=st.sampled_from([0.0, 1.0, math.nan]),
    flags=st.tuples(st.sampled_from([0.0, 1.0, math.nan]), st.sampled_from([0.0, 1.0, math.inf])),
)
def test_a_record_moves_one_count_by_one_whatever_it_holds(
    value: float, target: float, flags: tuple[float, float]
) -> None:
    from tests.unit.silo_node.training.conftest import Noiseless, _document

    contract = scored(parse_training(_document(None, 300, 1.0, {})))
    features, targets = np.random.default_rng(0).uniform(-1, 1, size=(30, 4)), np.zeros(30)
    before = evaluation_counts(contract, TrainingRows(features, targets), knowing(contract), Noiseless())
    more = TrainingRows(np.vstack([features, [[value, value, *flags]]]), np.append(targets, target))
    moved = evaluation_counts(contract, more, knowing(contract), Noiseless()) - before
    assert (moved.min(), moved.max(), moved.sum()) == (0.0, 1.0, 1.0)


def test_it_costs_what_two_counts_cost(contract_of: Any) -> None:
    counted = contract_of()
    contract = scored(counted)
    last = last_round(contract)
    assert plan_round(contract, last).tensors == (36,)
    assert round_events(contract, "north", last) == round_events(counted, "north", last)


def test_what_a_study_of_three_silos_tells_is_close_to_the_truth_and_says_how_close(contract_of: Any) -> None:
    contract, noise = scored(contract_of()), np.random.default_rng(9)
    draw = np.random.default_rng(2)
    features = draw.uniform(-1, 1, size=(6000, 4))
    features[:, 2:] = features[:, 2:] > 0
    target = (draw.random(6000) < 1 / (1 + np.exp(-3 * features[:, 0]))).astype(np.float64)

    class Drawn:
        def add_gaussian(self, sums: Any, deviation: float, step: float) -> Any:
            return sums + np.rint(noise.normal(0, deviation, sums.shape))

        def included(self, rows: int, rate: float) -> Any:
            raise AssertionError

    parts = [TrainingRows(features[k::3].copy(), target[k::3].copy()) for k in range(3)]
    total = sum(evaluation_counts(contract, part, knowing(contract), Drawn()) for part in parts)
    state, after = io.BytesIO(), io.BytesIO()
    sums = np.zeros(4)
    apply_total(contract, study_id(contract), 0, io.BytesIO(), [sums], contract.silo_names, state)
    last = last_round(contract)
    apply_total(contract, study_id(contract), last, state, [total[:10], total[10:]], contract.silo_names, after)
    reached = Progress.from_bytes(after.getvalue())
    assert reached.evaluated == 3 and reached.counts.tolist() == total.tolist()
    # What goes to the process that reads rows is the state alone, before and after.
    assert state_in(state).whole() == state_in(after).whole()
    assert isinstance(contract.evaluation, ScoredEvaluation)
    told = scores_told(contract.evaluation, contract.sealing, reached.counts, 3)
    auc, accuracy = told.auc(), told.accuracy()
    logits = 3 * features[:, 0]
    assert auc is not None and abs(auc.value - roc_auc_score(target, logits)) < 4 * auc.standard_error + 0.02
    assert accuracy is not None
    assert abs(accuracy.value - np.mean((logits > 0) == (target > 0.5))) < 4 * accuracy.standard_error
    estimate = estimate_accuracy(contract, reached.counts, 3)
    assert (estimate.accuracy, estimate.standard_error) == (accuracy.value, accuracy.standard_error)
    assert estimate_accuracy(contract, np.zeros(36), 0).accuracy is None
    right, wrong = right_and_wrong(contract.evaluation, reached.counts)
    assert right / (right + wrong) == pytest.approx(accuracy.value)
    variance = cell_variance(contract.evaluation, contract.sealing, 3)
    assert 25 + 1 / 12 < variance < 25.2


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"edges": [0.3, 0.3, 0.5]}, "must increase"),
        ({"edges": [0.3, 0.7]}, r"0\.5 must be one"),
        ({"edges": [0.5, 1.0]}, "less than 1"),
        ({"edges": []}, "at least 1 item"),
        ({"groups": ["a"]}, "binary features"),
        ({"groups": ["t"]}, "binary features"),
        ({"groups": ["c", "c"]}, "named once"),
        ({"bins": 3}, "not permitted"),
    ],
)
def test_a_histogram_that_cannot_be_is_refused(contract_of: Any, changes: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        scored(contract_of(), **changes)


@pytest.mark.parametrize("data", [b"", b"x" * 15, (2**63).to_bytes(8, "little") * 2, bytes(16), bytes(60)])
def test_bytes_that_are_no_progress_are_refused(data: bytes) -> None:
    with pytest.raises(TrainingRefused):
        Progress.from_bytes(data)
