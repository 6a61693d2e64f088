"""A small study of three silos, and noise sources that tests can see through."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from protocol.study import StudyContract, parse_contract
from silo_node.training.rows import TrainingRows

ContractOf = Callable[..., StudyContract]


class Noiseless:
    """Adds nothing and takes every row, so that what lies under the noise can be looked at."""

    def add_gaussian(self, sums: Any, deviation: float, step: float) -> Any:
        return sums

    def included(self, rows: int, rate: float) -> Any:
        return np.ones(rows, dtype=np.bool_)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """As in training: torch's threads wait for each other where models are small."""
    torch.set_num_threads(1)


@pytest.fixture
def noiseless() -> Noiseless:
    return Noiseless()


@pytest.fixture
def contract_of() -> ContractOf:
    """A contract with four features; keywords replace values, ``hidden`` makes it an MLP."""

    def build(
        hidden: list[int] | None = None, rows: int = 300, sampling_rate: float = 1.0, **training: Any
    ) -> StudyContract:
        return parse_contract(_document(hidden, rows, sampling_rate, training))

    return build


@pytest.fixture
def rows_of() -> Callable[..., TrainingRows]:
    """Rows of four features in [-1, 1] whose target is mostly the sign of the first two's sum."""

    def build(count: int, seed: int = 1) -> TrainingRows:
        draw = np.random.default_rng(seed)
        features = draw.uniform(-1.0, 1.0, size=(count, 4))
        target = (features[:, 0] + features[:, 1] + 0.1 * draw.normal(size=count) > 0).astype(np.float64)
        return TrainingRows(features, target)

    return build


def _document(hidden: list[int] | None, rows: int, sampling_rate: float, training: dict[str, Any]) -> dict[str, Any]:
    column = {"kind": "number", "minimum": -1.0, "maximum": 1.0, "unit": ""}
    return {
        "format": "consortia-study/1",
        "title": "A study for tests",
        "purpose": "method-research",
        "description": "Nothing real.",
        "legal_basis": "None needed.",
        "kind": "training",
        "lead": "researcher",
        "recipients": ["researcher"],
        "expires_at": "2100-01-01T00:00:00Z",
        "data": {
            "dataset": "made-up",
            "features": [{"name": name, **column} for name in ("a", "b", "c", "d")],
            "target": {"name": "t", "kind": "binary", "minimum": 0.0, "maximum": 1.0, "unit": ""},
        },
        "privacy": {"unit": "record", "epsilon": 100.0, "delta": 0.01, "order": 2},
        "normalisation": {"columns": ["c", "a"], "clip": 1.5, "noise_multiplier": 5.0},
        "model": {"family": "mlp", "hidden": hidden} if hidden else {"family": "logistic"},
        "training": {
            "rounds": 4,
            "local_steps": 3,
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "clip": 1.0,
            "noise_multiplier": 4.0,
            "averaged_rounds": 2,
            **training,
        },
        "evaluation": {"test_share": 0.25, "noise_multiplier": 5.0},
        "silos": [
            {
                "silo": silo,
                "rows": rows,
                "sampling_rate": sampling_rate,
                "weight": weight,
                "normaliser": max(1.0, 0.75 * rows * sampling_rate),
            }
            for silo, weight in (("north", 0.5), ("south", 0.3), ("west", 0.2))
        ],
        "sealing": {
            "values_per_slot": 3,
            "normalisation_exponent": 9,
            "training_exponent": 1,
            "evaluation_exponent": 9,
        },
        "schedule": {"quorum": 3, "step_timeout_s": 60},
        "release": {"approvals": 2},
    }
