"""A small study of three silos of 300 published rows each, and a noise source that tests can see through."""

from typing import Any

import pytest

from protocol.study import StudyContract, parse_contract


class Noiseless:
    """Adds nothing so that what lies under the noise can be looked at."""

    def add_gaussian(self, sums: Any, deviation: float, step: float) -> Any:
        return sums


@pytest.fixture
def noiseless() -> Noiseless:
    return Noiseless()


@pytest.fixture
def contract() -> StudyContract:
    return parse_contract(_document())


def _document() -> dict[str, Any]:
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
        "model": {"family": "logistic"},
        "training": {
            "rounds": 4,
            "local_steps": 3,
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "clip": 1.0,
            "noise_multiplier": 4.0,
            "averaged_rounds": 2,
        },
        "evaluation": {"test_share": 0.25, "noise_multiplier": 5.0},
        "silos": [
            {
                "silo": silo,
                "rows": 300,
                "sampling_rate": 1.0,
                "weight": weight,
                "normaliser": 225.0,
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
