"""Every family through a whole study in one process, from its contract to what a recipient gets of it."""

import io

import numpy as np
import onnxruntime
import pytest

from client.bundle import read_bundle
from client.model import probabilities, to_onnx
from protocol.rounds import last_round
from protocol.study import study_id
from silo_node.agent.bundle import release_bundle
from silo_node.agent.progress import Progress, apply_total
from silo_node.simulation.rounds import _total, hits_of
from silo_node.simulation.rows import SiloRows
from silo_node.training.noise import SystemNoise
from silo_node.training.rows import TrainingRows
from tests.sample_models import LORA, contract_named, raw_rows


@pytest.mark.parametrize("name", ["cnn", "embedding", "frozen", "lora", "graph"])
def test_a_family_goes_from_its_contract_through_all_rounds_to_a_model_that_predicts(name: str) -> None:
    contract = contract_named(name)
    study, held = study_id(contract), b""
    rows = {}
    for place, silo in enumerate(contract.silo_names):
        features, target = raw_rows(contract, 40, place), (np.arange(40) % 2).astype(np.float64)
        rows[silo] = SiloRows(TrainingRows(features[:30], target[:30]), TrainingRows(features[30:], target[30:]))
    for index in range(last_round(contract) + 1):
        total, _ = _total(contract, rows, held, index, SystemNoise())
        after = io.BytesIO()
        apply_total(contract, study, index, io.BytesIO(held), [total], contract.silo_names, after)
        held = after.getvalue()
    reached = Progress.from_bytes(held)
    bundle = read_bundle(release_bundle(contract, study, reached), study)
    features = np.vstack([one.held_out.features for one in rows.values()]).astype(np.float32)
    expected = probabilities(bundle, features)
    (by_onnx,) = onnxruntime.InferenceSession(to_onnx(bundle)).run(None, {"features": features})
    np.testing.assert_allclose(by_onnx, expected, atol=1e-6)
    targets = np.concatenate([one.held_out.target for one in rows.values()])
    right = int(np.count_nonzero((expected > 0.5) == (targets > 0.5)))
    assert right == sum(one.right for one in hits_of(contract, rows, reached.state).values())


def test_what_is_frozen_is_released_as_the_contract_has_it() -> None:
    contract = contract_named("lora")
    start = Progress.from_bytes(_begun())
    bundle = read_bundle(release_bundle(contract, study_id(contract), start), study_id(contract))
    names = {one.name for one in contract.plan.frozen}
    assert names == {one for one in bundle.tensors if "lora" not in one} and LORA["rank"] == 2
    assert all(np.array_equal(bundle.tensors[one], contract.model.weights.tensors[one]) for one in names)


def _begun() -> bytes:
    """The progress of the LoRA study after a normalisation round whose total says nothing."""
    contract = contract_named("lora")
    after, columns = io.BytesIO(), len(contract.normalisation.columns)
    total = np.concatenate([np.zeros(columns), np.full(columns, 40.0)])
    apply_total(contract, study_id(contract), 0, io.BytesIO(b""), [total], contract.silo_names, after)
    return after.getvalue()
