"""One hospital's records registered at a silo, and contracts that ask for them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from compose import heart
from protocol.study import StudyContract, parse_contract
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Registration, register
from silo_node.dataset.schema import parse_schema
from silo_node.runner.process import Runner

SILOS = ("cleveland", "hungarian", "switzerland")


def contract_value(model: dict[str, Any], local_steps: int, dataset: str = "heart") -> dict[str, Any]:
    columns = [column.model_dump(exclude={"category"}) for column in parse_schema(heart.SCHEMA, "heart").expanded]
    return {
        "format": "consortia-study/1",
        "title": "Heart",
        "purpose": "medical-research",
        "description": "A test",
        "legal_basis": "None",
        "kind": "training",
        "lead": "ada-r",
        "recipients": ["ada-r"],
        "expires_at": "2030-01-01T00:00:00Z",
        "data": {"dataset": dataset, "features": columns[:-1], "target": columns[-1]},
        "privacy": {"unit": "subject", "epsilon": 50.0, "delta": 1e-3, "order": 4},
        "normalisation": {"columns": ["age", "thalach"], "clip": 1.5, "noise_multiplier": 2.0},
        "model": model,
        "training": {
            "rounds": 2,
            "local_steps": local_steps,
            "learning_rate": 0.1,
            "weight_decay": 0.0,
            "clip": 1.0,
            "noise_multiplier": 200.0,
            "averaged_rounds": 1,
        },
        "evaluation": {"test_share": 0.34, "noise_multiplier": 2.0},
        "silos": [
            {"silo": silo, "rows": 300, "sampling_rate": 1.0, "weight": weight, "normaliser": 200.0}
            for silo, weight in zip(SILOS, (0.5, 0.25, 0.25), strict=True)
        ],
        "sealing": {
            "values_per_slot": 3,
            "normalisation_exponent": 10,
            "training_exponent": 3,
            "evaluation_exponent": 10,
        },
        "schedule": {"quorum": 3, "step_timeout_s": 60},
        "release": {"approvals": 2},
    }


@pytest.fixture(scope="session")
def contract() -> StudyContract:
    return parse_contract(contract_value({"family": "logistic"}, 5))


@pytest.fixture(scope="session")
def long_contract() -> StudyContract:
    """A round of it takes many seconds."""
    return parse_contract(contract_value({"family": "mlp", "hidden": [1024, 1024]}, 1000))


@pytest.fixture(scope="session")
def elsewhere() -> StudyContract:
    """A contract on a dataset that isn't registered."""
    return parse_contract(contract_value({"family": "logistic"}, 5, dataset="lungs"))


@pytest.fixture(scope="session")
def registration(tmp_path_factory: pytest.TempPathFactory) -> Registration:
    folder = tmp_path_factory.mktemp("heart")
    paths = heart.write_hospitals(folder)
    schema = parse_schema(heart.SCHEMA, "heart")
    return register("heart", paths["cleveland"], schema, "patients", 50.0, 1e-3, 4, 300)


@pytest.fixture(scope="session")
def catalogue(tmp_path_factory: pytest.TempPathFactory, registration: Registration) -> Catalogue:
    catalogue = Catalogue(tmp_path_factory.mktemp("silo") / "datasets")
    catalogue.add(registration, catalogue.check, "2026-11-22T03:29:00Z")
    return catalogue


@pytest.fixture(scope="session")
def runner(catalogue: Catalogue) -> Iterator[Runner]:
    """One process for all tests that leave it as they found it."""
    with Runner(catalogue.folder, limit_s=120) as runner:
        yield runner


@pytest.fixture
def fresh(catalogue: Catalogue) -> Iterator[Runner]:
    with Runner(catalogue.folder, limit_s=120) as runner:
        yield runner


@pytest.fixture
def source(registration: Registration) -> Path:
    return Path(registration.source)
