"""A model whose evaluation drowned in the noise: it is released all the same, without a number."""

import base64
import json
from pathlib import Path

import numpy as np
import pytest

from client.bundle import read_bundle
from client.errors import BundleRefused
from client.keys import write_identity
from client.release import release, write_release
from protocol import canonical, study_statements
from protocol.release import release_commitment, release_context
from protocol.sealing.envelope import seal_envelope
from protocol.study import StudyContract, contract_value, study_id
from silo_node.agent.bundle import release_bundle
from silo_node.agent.progress import Progress
from tests.unit.client.conftest import World, found_world, make_contract, run_study
from tests.whole_states import initial_state

SALT = b"s" * 32
UNKNOWN = "not known: the noise that protects the records drowned the counts, or their encoding cut them off"


def drowned(contract: StudyContract) -> bytes:
    """The bundle that a silo makes when the noised counts sum to less than nothing."""
    study = study_id(contract)
    start = initial_state(contract, study)
    return release_bundle(contract, study, Progress(start, 4, np.array([-3.25, 1.5])))


def released(world: World, contract: StudyContract, data: bytes) -> str:
    study = run_study(world, contract)
    world.say(study_statements.ReleaseRequested, "person:grace", study=study)
    for name in contract.silo_names:
        commitment = release_commitment(SALT, data)
        world.say(study_statements.ReleaseApproved, f"silo:{name}", study=study, commitment=commitment)
    public = base64.b64decode(world.grace.card.receiving_key)
    blob = seal_envelope(SALT + data, public, release_context(study, "cleveland", "grace"))
    digest = canonical.digest(blob)
    world.blobs[digest] = blob
    world.say(
        study_statements.ReleaseSealed, "silo:cleveland", study=study, recipient="grace", blob=digest, size=len(blob)
    )
    return study


def test_a_bundle_without_an_accuracy_is_read_and_says_why(world: World) -> None:
    contract = make_contract(world)
    measured = read_bundle(drowned(contract), study_id(contract)).evaluation
    assert (measured.accuracy, measured.standard_error) == (None, None)
    assert (measured.right, measured.wrong, measured.test_silos) == (-3.25, 1.5, 4)
    assert measured.in_words() == UNKNOWN


def test_a_model_without_an_accuracy_is_released_and_carded_without_a_number(tmp_path: Path) -> None:
    world = found_world()
    contract = make_contract(world)
    study = released(world, contract, drowned(contract))
    write_identity(world.grace, tmp_path / "grace.key")
    connection = world.connect(tmp_path / "grace.key")
    paths = write_release(connection, release(connection, study, world.seconds + 1, lambda _: None), tmp_path / "out")
    metrics = json.loads(paths[2].read_text())
    assert metrics == {"right": -3.25, "wrong": 1.5, "accuracy": None, "standard_error": None, "test_silos": 4}
    (line,) = [line for line in paths[3].read_text().splitlines() if "**Accuracy**" in line]
    assert line == f"- **Accuracy**: {UNKNOWN}, on held-out rows, from noised counts"
    assert "-3.2 right, 1.5 wrong (noised" in paths[3].read_text()
    assert all(path.stat().st_size > 0 for path in paths)


@pytest.mark.parametrize("accuracy", [-0.1, 1.1, "unknown", True])
def test_anything_but_a_share_or_nothing_is_no_accuracy(world: World, accuracy: object) -> None:
    contract = make_contract(world)
    data = drowned(contract)
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    record = json.loads(header["__metadata__"]["consortia"])
    assert record["contract"] == contract_value(contract)
    record["evaluation"]["accuracy"] = accuracy
    header["__metadata__"]["consortia"] = canonical.encode(record).decode()
    changed = json.dumps(header).encode()
    padded = changed + b" " * (-len(changed) % 8)
    with pytest.raises(BundleRefused, match="accuracy"):
        read_bundle(len(padded).to_bytes(8, "little") + padded + data[8 + size :], study_id(contract))


def test_the_model_itself_is_whole_without_an_accuracy(world: World) -> None:
    contract = make_contract(world)
    bundle = read_bundle(drowned(contract), study_id(contract))
    assert all(np.isfinite(one).all() for one in bundle.tensors.values())
