"""A graph's torch model: what it computes, that it mixes no records, and that a private step takes it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch.func import functional_call, grad
from torch.nn.functional import binary_cross_entropy_with_logits

from client import graph_arithmetic
from protocol.study import StudyContract, study_id
from silo_node.training.architecture import initial_runs
from silo_node.training.graph_model import GraphModel
from silo_node.training.models import build, logits
from silo_node.training.noise import InsecureNoiseWarning, SeededNoise
from silo_node.training.private import clipped_sums
from silo_node.training.rows import TrainingRows, standardised
from silo_node.training.state import StudyState
from silo_node.training.trainer import train_round
from tests.sample_models import MODELS, contract_named, drawn_tensors, raw_rows

CLIP = 0.7


def vector_of(contract: StudyContract) -> np.ndarray:
    tensors = drawn_tensors(contract)
    return np.concatenate([tensors[one.name].ravel() for one in contract.plan.trained])


def inputs_of(contract: StudyContract, rows: int) -> np.ndarray:
    """Model inputs (n, d), nothing standardised."""
    columns = len(contract.data.features)
    return standardised(contract, raw_rows(contract, rows), np.zeros(columns), np.ones(columns))


@pytest.mark.parametrize("name", MODELS)
def test_torch_computes_what_the_reference_in_numpy_computes(name: str) -> None:
    contract = contract_named(name)
    inputs = inputs_of(contract, 9)
    expected = graph_arithmetic.logits(contract.plan, drawn_tensors(contract), inputs)
    np.testing.assert_allclose(logits(contract, vector_of(contract), inputs), expected, rtol=1e-9, atol=1e-12)
    assert expected.std() > 1e-3


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("value", [0.31, 1e9, math.inf, math.nan])
def test_a_record_that_is_perturbed_moves_no_other_record_s_output(name: str, value: float) -> None:
    contract = contract_named(name)
    model = build(contract, vector_of(contract))
    inputs = torch.from_numpy(inputs_of(contract, 5))
    changed = inputs.clone()
    changed[2] = value
    with torch.no_grad():
        before, after = model(inputs), model(changed)
    others = [0, 1, 3, 4]
    assert torch.equal(before[others], after[others])
    assert not torch.equal(before[2], after[2])


def test_a_model_that_mixed_records_would_be_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: with a sum over the batch in place of a sum over the inputs it does."""
    right = GraphModel._value

    def mixing(self: Any, step: Any, read: list[Any]) -> Any:
        value = right(self, step, read)
        return value + value.mean(0) if step.node.operator == "add" else value

    monkeypatch.setattr(GraphModel, "_value", mixing)
    with pytest.raises(AssertionError):
        test_a_record_that_is_perturbed_moves_no_other_record_s_output("graph", 0.31)


@pytest.mark.parametrize("name", MODELS)
def test_clipped_sums_are_those_of_each_record_s_own_gradient(name: str) -> None:
    contract = contract_named(name)
    model = build(contract, vector_of(contract))
    inputs = torch.from_numpy(inputs_of(contract, 6))
    target = torch.tensor([0.0, 1.0, 1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    sums = torch.cat(
        [one.reshape(-1) for one in clipped_sums(build(contract, vector_of(contract)), CLIP)(inputs, target)]
    )
    parameters = {key: one.detach() for key, one in model.named_parameters() if one.requires_grad}

    def loss(held: Any, record: torch.Tensor, label: torch.Tensor) -> torch.Tensor:
        return binary_cross_entropy_with_logits(functional_call(model, held, record[None])[0, 0], label)

    one_by_one = [grad(loss)(parameters, record, label) for record, label in zip(inputs, target, strict=True)]
    expected = torch.zeros_like(sums)
    for record in one_by_one:
        gradient = torch.cat([record[key].reshape(-1) for key in parameters])
        expected += gradient * min(1.0, CLIP / float(gradient.norm()))
    assert torch.allclose(sums, expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", ["cnn", "embedding", "graph"])
def test_a_round_of_a_family_trains_and_a_record_with_missing_values_counts_for_nothing(name: str) -> None:
    contract = contract_named(name)
    columns, start = len(contract.data.features), np.concatenate(list(initial_runs(contract, study_id(contract))))
    state = StudyState(0, (1,) * len(contract.plan.trained), np.zeros(columns), np.ones(columns), start, start, 0)
    features, target = raw_rows(contract, 20), (np.arange(20) % 2).astype(np.float64)
    rows = TrainingRows(features, target)
    with pytest.warns(InsecureNoiseWarning):
        update = train_round(contract, "alpha", rows, state, SeededNoise(b"1")).vector
    assert np.isfinite(update).all() and np.count_nonzero(update) == update.size
    broken = np.vstack([features, np.full((1, columns), np.nan)])
    again = train_round(contract, "alpha", TrainingRows(broken, np.append(target, 1.0)), state, Silent()).vector
    without = train_round(contract, "alpha", rows, state, Silent()).vector
    np.testing.assert_allclose(again, without, rtol=1e-5, atol=1e-9)


class Silent:
    """Adds nothing and takes every row."""

    def add_gaussian(self, sums: Any, deviation: float, step: float) -> Any:
        return sums

    def included(self, rows: int, rate: float) -> Any:
        return np.ones(rows, dtype=np.bool_)


def test_training_starts_by_the_documented_stream_in_the_vector_s_order() -> None:
    contract = contract_named("cnn")
    whole = np.concatenate(list(initial_runs(contract, "ab" * 32)))
    parts, at = {}, 0
    for one in contract.plan.trained:
        parts[one.name] = whole[at : at + one.length]
        at += one.length
    assert at == whole.size
    assert not parts["conv0.bias"].any() and (parts["norm0.weight"] == 1.0).all() and not parts["norm0.bias"].any()
    assert 0.8 * math.sqrt(6 / 9) < np.abs(parts["conv0.weight"]).max() < math.sqrt(6 / 9)
    assert 0.8 * math.sqrt(6 / 74) < np.abs(parts["layer0.weight"]).max() < math.sqrt(6 / 74)
    table = np.concatenate(list(initial_runs(contract_named("embedding"), "ab" * 32)))[:21]
    assert 0.7 * math.sqrt(3) < np.abs(table).max() < math.sqrt(3)
    # The stream runs on from tensor to tensor: the first convolution's is the first layer's of any other model.
    mlp = np.concatenate(list(initial_runs(contract_named("mlp"), "ab" * 32)))
    np.testing.assert_allclose(parts["conv0.weight"][:25] / math.sqrt(6 / 9), mlp[:25] / math.sqrt(6 / 5), rtol=1e-12)


def test_whole_numbers_find_their_own_row_of_the_table_and_what_is_beyond_the_range_the_nearest() -> None:
    contract = contract_named("embedding")
    model = build(contract, vector_of(contract))
    table = model.get_submodule("node_table0")
    seen: list[torch.Tensor] = []
    table.register_forward_hook(lambda _, arguments, __: seen.append(arguments[0]))
    rows = raw_rows(contract, 9)
    rows[:, 1] = [-2, -1, 0, 1, 2, 3, 4, -50, 9]
    columns = len(contract.data.features)
    model(torch.from_numpy(standardised(contract, rows, np.zeros(columns), np.ones(columns))))
    assert seen[0][:, 0].tolist() == [0, 1, 2, 3, 4, 5, 6, 0, 6]
