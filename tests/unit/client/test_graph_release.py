"""A released model of every family: ONNX, NumPy and torch compute the same from raw features."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import save

from client.bundle import Bundle, read_bundle
from client.errors import BundleRefused
from client.model import probabilities, to_onnx
from protocol import canonical
from protocol.study import StudyContract, contract_value, study_id
from silo_node.training.models import logits
from silo_node.training.rows import standardised
from tests.sample_models import MODELS, contract_named, drawn_tensors, raw_rows

MEASURED = {"right": 190.4, "wrong": 61.2, "accuracy": 0.757, "standard_error": 0.03, "test_silos": 4}


def released(contract: StudyContract) -> Bundle:
    """The bundle that silos would release of these values."""
    draw, columns = np.random.default_rng(3), len(contract.normalisation.columns)
    tensors = {"mean": draw.normal(0, 0.2, columns), "std": draw.uniform(0.5, 1, columns)}
    values = drawn_tensors(contract)
    tensors |= {one.name: values[one.name] for one in contract.plan.trained}
    record = {"format": "consortia-release/1", "study": study_id(contract), "contract": contract_value(contract)}
    record |= {"evaluation": MEASURED, "rounds": contract.training.rounds}
    return read_bundle(save(tensors, {"consortia": canonical.encode(record).decode()}), study_id(contract))


@pytest.mark.parametrize("name", MODELS)
def test_onnx_numpy_and_torch_say_the_same_of_a_released_model(name: str) -> None:
    contract = contract_named(name)
    bundle, features = released(contract), raw_rows(contract, 40).astype(np.float32)
    expected, data = probabilities(bundle, features), to_onnx(bundle)
    (by_runtime,) = onnxruntime.InferenceSession(data).run(None, {"features": features})
    (by_reference,) = ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"features": features})
    np.testing.assert_allclose(by_runtime, expected, atol=1e-6)
    np.testing.assert_allclose(by_reference, expected, atol=1e-6)
    names = [column.name for column in contract.data.features]
    mean, deviation = np.zeros(len(names)), np.ones(len(names))
    places = [names.index(one) for one in contract.normalisation.columns]
    mean[places], deviation[places] = bundle.mean, bundle.std
    vector = np.concatenate([bundle.tensors[one.name].ravel() for one in contract.plan.trained])
    by_torch = logits(contract, vector, standardised(contract, features.astype(np.float64), mean, deviation))
    np.testing.assert_allclose(1 / (1 + np.exp(-by_torch)), expected, atol=1e-6)
    assert expected.std() > 1e-3


def test_the_onnx_file_names_the_nodes_of_the_contract_s_graph() -> None:
    contract = contract_named("cnn")
    given = {name for one in onnx.load_from_string(to_onnx(released(contract))).graph.node for name in one.output}
    assert {f"node:{step.node.name}" for step in contract.plan.steps} <= given


def test_a_bundle_of_another_graph_is_refused() -> None:
    one, other = contract_named("cnn"), contract_named("embedding")
    tensors = {"mean": np.zeros(2), "std": np.ones(2), **drawn_tensors(other)}
    record = {"format": "consortia-release/1", "study": study_id(one), "contract": contract_value(one)}
    record |= {"evaluation": MEASURED, "rounds": 1}
    data = save(tensors, {"consortia": canonical.encode(json.loads(json.dumps(record))).decode()})
    with pytest.raises(BundleRefused, match="is not of the contract's model"):
        read_bundle(data, study_id(one))
