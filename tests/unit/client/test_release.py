"""A released model: which bytes are taken, and that every form of it computes the same."""

import base64
import json
import struct
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import httpx
import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load, save

from client import Federation
from client.bundle import read_bundle, read_safetensors
from client.connection import Surroundings
from client.errors import BundleRefused, StudyNotCompleted
from client.keys import write_identity
from client.model import probabilities, to_onnx
from client.release import release, write_release
from client.score_report import SVG, charts, figures, lines, scores_of
from protocol import canonical, study_statements
from protocol.release import release_commitment, release_context
from protocol.sealing.envelope import seal_envelope
from protocol.study import contract_value, parse_training, study_id
from protocol.training_study import TrainingContract
from tests.unit.client.conftest import HUB, ROWS, World, found_world, make_contract, run_study

SALT = b"s" * 32
MEASURED = {"right": 190.4, "wrong": 61.2, "accuracy": 0.757, "standard_error": 0.03, "test_silos": 4}


def bundle_bytes(contract: TrainingContract, **changes: Any) -> bytes:
    """What a silo would release, with changed tensors or metadata."""
    draws, widths = np.random.default_rng(7), [len(contract.data.features)]
    widths += [*(contract.model.hidden if contract.model.family == "mlp" else ()), 1]
    columns = len(contract.normalisation.columns)
    tensors = {"mean": draws.normal(0, 0.2, columns), "std": draws.uniform(0.1, 1, columns)}
    for i, (inputs, outputs) in enumerate(pairwise(widths)):
        tensors[f"layer{i}.weight"] = draws.normal(0, 1, (outputs, inputs))
        tensors[f"layer{i}.bias"] = draws.normal(0, 1, outputs)
    value = {"format": "consortia-release/1", "study": study_id(contract), "contract": contract_value(contract)}
    value |= {"evaluation": MEASURED, "rounds": contract.training.rounds}
    tensors |= changes.pop("tensors", {})
    return save(tensors, {"consortia": canonical.encode(value | changes).decode()})


def mlp(world: World) -> TrainingContract:
    value = contract_value(make_contract(world)) | {"model": {"family": "mlp", "hidden": [8, 3]}}
    return TrainingContract.model_validate_json(json.dumps(value))


@pytest.mark.parametrize("family", ["logistic", "mlp"])
def test_onnx_computes_what_numpy_computes_from_raw_features(world: World, family: str) -> None:
    contract = make_contract(world) if family == "logistic" else mlp(world)
    bundle = read_bundle(bundle_bytes(contract), study_id(contract))
    features = np.random.default_rng(1).uniform(-500, 900, (200, 13)).astype(np.float32)
    features[:100] = features[:100].clip(0, 1) * 60 + 40
    expected, data = probabilities(bundle, features), to_onnx(bundle)
    (by_runtime,) = onnxruntime.InferenceSession(data).run(None, {"features": features})
    (by_reference,) = ReferenceEvaluator(onnx.load_from_string(data)).run(None, {"features": features})
    assert by_runtime.shape == (200,) and by_runtime.dtype == np.float32
    np.testing.assert_allclose(by_runtime, expected, atol=1e-6)
    np.testing.assert_allclose(by_reference, expected, atol=1e-6)
    assert expected.std() > 0.01


def test_features_beyond_their_range_count_as_its_end_and_only_named_columns_are_standardised(world: World) -> None:
    contract = make_contract(world)
    bundle = read_bundle(bundle_bytes(contract), study_id(contract))
    low = np.array([[column.minimum for column in contract.data.features]])
    np.testing.assert_array_equal(probabilities(bundle, low), probabilities(bundle, low - 1e6))
    names = [column.name for column in contract.data.features]
    inputs = np.full(13, -1.0)
    places = [names.index(name) for name in contract.normalisation.columns]
    inputs[places] = (-1.0 - bundle.mean) / bundle.std
    logit = bundle.tensors["layer0.weight"][0] @ inputs + bundle.tensors["layer0.bias"][0]
    assert probabilities(bundle, low)[0] == pytest.approx(1 / (1 + np.exp(-logit)))


def test_our_reader_reads_what_the_safetensors_library_writes(world: World) -> None:
    data = bundle_bytes(make_contract(world))
    _, ours = read_safetensors(data)
    theirs = load(data)
    assert ours.keys() == theirs.keys()
    for name, tensor in theirs.items():
        np.testing.assert_array_equal(ours[name], tensor)


@settings(max_examples=150, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused(raw: bytes) -> None:
    with pytest.raises(BundleRefused):
        read_bundle(raw, "0" * 64)
    with pytest.raises(BundleRefused):
        read_bundle(struct.pack("<Q", len(raw)) + raw, "0" * 64)


def _file(header: str, body: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header.encode() + body


@pytest.mark.parametrize(
    ("raw", "reason"),
    [
        (b"\xff" * 8 + b"{}", "claims"),
        (_file('{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}'), "beyond the file"),
        (_file('{"a":{"dtype":"F64","shape":[1],"data_offsets":[8,16]}}', bytes(16)), "does not begin"),
        (_file('{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', bytes(9)), "after its last"),
        (_file('{"a":{"dtype":"F64","shape":[2],"data_offsets":[0,8]}}', bytes(8)), "shape needs 16"),
        (_file('{"a":{"dtype":"F64","shape":[-1,-1],"data_offsets":[0,8]}}', bytes(8)), "whole numbers"),
        (_file('{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]},"a":{}}', bytes(8)), "twice"),
        (_file('{"a":{"dtype":"I64","shape":[1],"data_offsets":[0,8]}}', bytes(8)), "float64"),
        (_file('{"a":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}}', struct.pack("<d", float("nan"))), "finite"),
        (_file('{"a":{"dtype":"F64","shape":[1099511627775,1099511627775],"data_offsets":[0,8]}}', bytes(8)), "needs"),
        (_file("[" * 5000 + "]" * 5000), "JSON"),
    ],
)
def test_a_header_that_lies_is_refused(raw: bytes, reason: str) -> None:
    with pytest.raises(BundleRefused, match=reason):
        read_safetensors(raw)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"rounds": -1}, "rounds"),
        ({"format": "consortia-release/2"}, "format"),
        ({"study": "0" * 64}, "not of"),
        ({"extra": 1}, "extra"),
        ({"tensors": {"layer0.weight": np.zeros((1, 12))}}, "layer0.weight"),
        ({"tensors": {"layer1.weight": np.zeros((1, 1))}}, "layer1.weight"),
        ({"tensors": {"std": np.zeros(5)}}, "not above 0"),
    ],
)
def test_a_bundle_that_is_not_of_the_contract_is_refused(world: World, changes: dict[str, Any], reason: str) -> None:
    contract = make_contract(world)
    with pytest.raises(BundleRefused, match=reason):
        read_bundle(bundle_bytes(contract, **changes), study_id(contract))


def released_world(confirm: int, sealed: bytes | None = None) -> tuple[World, str]:
    """A completed study whose first ``confirm`` silos confirmed the bundle; the first sealed it for grace."""
    world = found_world()
    contract = make_contract(world)
    study, data = run_study(world, contract), bundle_bytes(contract)
    world.say(study_statements.ReleaseRequested, "person:grace", study=study)
    commitment = release_commitment(SALT, data)
    for i, name in enumerate(contract.silo_names):
        theirs = commitment if i < confirm else "0" * 64
        world.say(study_statements.ReleaseApproved, f"silo:{name}", study=study, commitment=theirs)
    public = base64.b64decode(world.grace.card.receiving_key)
    blob = seal_envelope(SALT + (sealed or data), public, release_context(study, "cleveland", "grace"))
    digest = canonical.digest(blob)
    world.blobs[digest] = blob
    world.say(
        study_statements.ReleaseSealed, "silo:cleveland", study=study, recipient="grace", blob=digest, size=len(blob)
    )
    return world, study


def test_a_release_is_opened_checked_and_written(tmp_path: Path) -> None:
    world, study = released_world(confirm=3)
    write_identity(world.grace, tmp_path / "grace.key")
    connection = world.connect(tmp_path / "grace.key")
    released = release(connection, study, world.seconds + 1, lambda _: None)
    assert released.confirmed_by == ("cleveland", "hungarian", "switzerland")
    paths = write_release(connection, released, tmp_path / "out")
    assert [path.name for path in paths] == ["model.safetensors", "model.onnx", "metrics.json", "model-card.md"]
    card = paths[3].read_text()
    assert "person:ada, signature verified" in card and "cleveland: epsilon 5.000 at delta 0.001, per subject" in card
    assert json.loads(paths[2].read_text())["accuracy"] == 0.757


def test_a_histogram_of_scores_is_told_in_numbers_lines_and_curves(world: World, tmp_path: Path) -> None:
    value = contract_value(make_contract(world))
    value["evaluation"] |= {"edges": [0.25, 0.5, 0.75], "groups": ["sex_male"]}
    contract = parse_training(value)
    counts = [200.5, 80.0, 40.0, 20.0, 15.0, 35.0, 90.0, 150.0, 180.0, 90.0, 50.0, 25.0, 30.0, 60.0, 90.0, 60.0]
    measured = MEASURED | {"counts": counts}
    bundle = read_bundle(bundle_bytes(contract, evaluation=measured), study_id(contract))
    told = scores_of(bundle)
    assert told is not None and told[1] == ("sex_male", "others")
    found = figures(*told)
    assert 0.7 < found["auc"]["low"] < found["auc"]["value"] < found["auc"]["high"] < 1
    assert [group["group"] for group in found["groups"]] == ["sex_male", "others"]
    assert found["groups"][1]["equal_opportunity"]["high"] < 0 < found["groups"][0]["equal_opportunity"]["low"]
    assert [bin["from"] for bin in found["calibration"]] == [0.0, 0.25, 0.5, 0.75]
    card = "\n".join(lines(*told))
    assert "**AUC**: 0." in card and "| others | 585 |" in card
    for chart in charts(told[0]).values():
        assert ElementTree.fromstring(chart).tag == f"{{{SVG}}}svg"  # noqa: S314  # ours
    with pytest.raises(BundleRefused, match="8 counts, the contract 16"):
        read_bundle(bundle_bytes(contract, evaluation=MEASURED | {"counts": counts[:8]}), study_id(contract))
    with pytest.raises(BundleRefused, match="16 counts, the contract 0"):
        plain = make_contract(world)
        read_bundle(bundle_bytes(plain, evaluation=measured), study_id(plain))


def test_a_release_that_too_few_silos_confirmed_is_refused(tmp_path: Path) -> None:
    world, study = released_world(confirm=1)
    write_identity(world.grace, tmp_path / "grace.key")
    with pytest.raises(BundleRefused, match="only 1 silos confirmed"):
        release(world.connect(tmp_path / "grace.key"), study, world.seconds, lambda _: None)


def test_a_model_other_than_the_confirmed_one_is_refused(tmp_path: Path) -> None:
    other = found_world()
    world, study = released_world(confirm=4, sealed=bundle_bytes(make_contract(other)) + b"x")
    write_identity(world.grace, tmp_path / "grace.key")
    with pytest.raises(BundleRefused, match="only 0 silos confirmed"):
        release(world.connect(tmp_path / "grace.key"), study, world.seconds, lambda _: None)


def test_a_blob_that_the_hub_altered_is_refused(tmp_path: Path) -> None:
    world, study = released_world(confirm=4)
    digest, blob = next(iter(world.blobs.items()))
    world.blobs[digest] = blob[:-1] + bytes([blob[-1] ^ 1])
    write_identity(world.grace, tmp_path / "grace.key")
    with pytest.raises(BundleRefused, match="not the one that the silo sealed"):
        release(world.connect(tmp_path / "grace.key"), study, world.seconds, lambda _: None)


def test_waiting_for_a_release_ends_at_the_deadline_and_says_how_many_approved(world: World, grace_key: Path) -> None:
    study = run_study(world, make_contract(world))
    connection = world.connect(grace_key)
    with pytest.raises(StudyNotCompleted, match="0 of 2 silos approved"):
        release(connection, study, world.seconds, lambda _: None)
    assert any(entry.kind == "release-requested" for entry, _ in world.leaves)


def test_a_researchers_day_in_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, sample: Path) -> None:
    world, study = released_world(confirm=2)
    write_identity(world.grace, tmp_path / "grace.key")
    around = Surroundings(lambda _: None, httpx.MockTransport(world.handle), lambda: world.seconds, lambda _: None)
    monkeypatch.setattr("client.federation.Surroundings", lambda notice: around)
    fed = Federation.connect(HUB, key=tmp_path / "grace.key", charter=world.founding)
    assert {silo: one.rows for silo, one in fed.datasets()["heart"].items()} == ROWS
    assert fed.study(sample).propose().leaf == len(world.leaves) - 1
    model = fed.study(study[:12]).release(timeout_s=0)
    assert model.predict(np.zeros((3, 13))).shape == (3,)
    assert onnx.load_from_string(model.onnx()).graph.input[0].name == "features"
    assert len(model.save(tmp_path / "out")) == 4
