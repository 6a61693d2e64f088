"""A small contract, and the dataset that each silo registers for it."""

from typing import Any

from protocol import accounting
from protocol.study import StudyContract, parse_contract

FEATURES = ("age", "pressure", "pulse")


def contract_value(
    silos: tuple[str, ...],
    *,
    rounds: int = 1,
    quorum: int = 3,
    timeout_s: int = 20,
    hidden: tuple[int, ...] = (),
    title: str = "Heart disease",
    approvals: int = 2,
) -> dict[str, Any]:
    order = accounting.best_order(5.0, 1e-3)
    columns = [{"name": name, "kind": "number", "minimum": 0.0, "maximum": 200.0, "unit": "1"} for name in FEATURES]
    weight = 1.0 / len(silos)
    terms = [{"silo": silo, "rows": 200, "sampling_rate": 0.1, "weight": weight, "normaliser": 20.0} for silo in silos]
    return {
        "format": "consortia-study/1",
        "title": title,
        "purpose": "medical-research",
        "description": "A test of the hub.",
        "legal_basis": "Nobody's data.",
        "kind": "training",
        "lead": "rosa",
        "recipients": ["rosa"],
        "expires_at": "2099-01-01T00:00:00Z",
        "data": {
            "dataset": "heart",
            "features": columns,
            "target": {"name": "disease", "kind": "binary", "minimum": 0.0, "maximum": 1.0, "unit": ""},
        },
        "privacy": {"unit": "subject", "epsilon": 5.0, "delta": 1e-3, "order": order},
        "normalisation": {"columns": list(FEATURES), "clip": 2.0, "noise_multiplier": 40.0},
        "model": {"family": "mlp", "hidden": list(hidden)} if hidden else {"family": "logistic"},
        "training": {
            "rounds": rounds,
            "local_steps": 5,
            "learning_rate": 0.5,
            "weight_decay": 0.0,
            "clip": 1.0,
            "noise_multiplier": 20.0,
            "averaged_rounds": 1,
        },
        "evaluation": {"test_share": 0.3, "noise_multiplier": 40.0},
        "silos": terms,
        "sealing": {
            "values_per_slot": 3,
            "normalisation_exponent": 8,
            "training_exponent": 3,
            "evaluation_exponent": 8,
        },
        "schedule": {"quorum": quorum, "step_timeout_s": timeout_s},
        "release": {"approvals": approvals},
    }


def contract(silos: tuple[str, ...], **given: Any) -> StudyContract:
    return parse_contract(contract_value(silos, **given))


def dataset_fields(epsilon: float = 5.0) -> dict[str, Any]:
    """The fields of a dataset-registered statement that fits the contract above."""
    value = contract_value(("a1", "b1", "c1", "d1"))
    return {
        "dataset": "heart",
        "columns": [*value["data"]["features"], value["data"]["target"]],
        "rows": 200,
        "domain": "patients",
        "unit": "subject",
        "epsilon": epsilon,
        "delta": 1e-3,
        "order": value["privacy"]["order"],
    }
