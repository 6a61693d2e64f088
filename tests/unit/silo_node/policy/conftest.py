from collections.abc import Callable
from typing import Any

import pytest

from protocol.accounting import Plan, best_order, calibrate
from protocol.study import StudyContract, parse_contract
from silo_node.ledger.budget import Balance, PrivacyDomain
from silo_node.policy.case import Case, CodeCase, RegisteredDataset, Standing
from silo_node.policy.limits import OwnerLimits

SILOS = ("mercy", "north", "south", "west")
NOW = 1_800_000_000


def _noise(epsilon: float, delta: float) -> dict[str, float]:
    plans = {
        "normalisation": Plan("gaussian", unit="record"),
        "training": Plan("sampled_gaussian", steps=20, sampling_rate=0.2, unit="record"),
        "evaluation": Plan("gaussian", unit="record"),
    }
    shares = {"normalisation": 0.1, "training": 0.8, "evaluation": 0.1}
    return calibrate(epsilon, delta, best_order(epsilon, delta), shares, plans)


def _column(name: str, kind: str = "number") -> dict[str, Any]:
    return {"name": name, "kind": kind, "minimum": 0.0, "maximum": 1.0, "unit": ""}


@pytest.fixture(scope="session")
def contract_with() -> Callable[..., StudyContract]:
    """Makes a contract of four silos on ``columns`` feature columns, calibrated to (epsilon, delta)."""

    def make(epsilon: float = 3.0, delta: float = 1e-5, columns: int = 2, unit: str = "record") -> StudyContract:
        noise = _noise(epsilon, delta)
        features = [f"c{place}" for place in range(columns)]
        terms = {"rows": 300, "sampling_rate": 0.2, "weight": 0.25, "normaliser": 60.0}
        return parse_contract(
            {
                "format": "consortia-study/1",
                "title": "Heart disease",
                "purpose": "medical-research",
                "description": "Who has it.",
                "legal_basis": "Consent.",
                "kind": "training",
                "lead": "rosa",
                "recipients": ["rosa"],
                "expires_at": "2027-02-01T00:00:00Z",
                "data": {
                    "dataset": "heart",
                    "features": [_column(name) for name in features],
                    "target": _column("disease", "binary"),
                },
                "privacy": {"unit": unit, "epsilon": epsilon, "delta": delta, "order": best_order(epsilon, delta)},
                "normalisation": {"columns": features, "clip": 1.0, "noise_multiplier": noise["normalisation"]},
                "model": {"family": "logistic"},
                "training": {
                    "rounds": 10,
                    "local_steps": 2,
                    "learning_rate": 0.5,
                    "weight_decay": 0.0,
                    "clip": 1.0,
                    "noise_multiplier": noise["training"],
                    "averaged_rounds": 3,
                },
                "evaluation": {"test_share": 0.2, "noise_multiplier": noise["evaluation"]},
                "silos": [{"silo": silo, **terms} for silo in SILOS],
                "sealing": {
                    "values_per_slot": 1,
                    "normalisation_exponent": 6,
                    "training_exponent": 2,
                    "evaluation_exponent": 8,
                },
                "schedule": {"quorum": 3, "step_timeout_s": 600},
                "release": {"approvals": 2},
            }
        )

    return make


@pytest.fixture
def case_of() -> Callable[..., Case]:
    """Makes the case of silo mercy, whose dataset has the contract's columns and an unspent budget of epsilon 8."""

    def make(contract: StudyContract, spent: int = 0, limits: OwnerLimits | None = None) -> Case:
        domain = PrivacyDomain.at_best_order("patients", "record", 8.0, 1e-5)
        held = RegisteredDataset(
            "heart", (*contract.data.features, contract.data.target), 300, Balance(domain, 0, spent)
        )
        standing = Standing(NOW, frozenset({"rosa", "adam"}), approved_by_admin=True)
        allowed = limits or OwnerLimits(
            purposes=("medical-research",),
            recipients="charter",
            columns={"heart": "registered"},
            max_epsilon=3.0,
            max_delta=1e-5,
        )
        return Case(contract, "mercy", held, standing, allowed)

    return make


@pytest.fixture
def code_case(contract_with: Callable[..., StudyContract], case_of: Callable[..., Case]) -> CodeCase:
    """Code of rosa's on two columns of mercy's dataset, which nobody has read yet."""
    case = case_of(contract_with())
    return CodeCase(
        analysis="ab" * 32,
        bundle="cd" * 32,
        bundle_approved=False,
        lead="rosa",
        purpose="medical-research",
        dataset="heart",
        columns=("c0", "disease"),
        held=case.held,
        standing=case.standing,
        limits=case.limits,
        sandbox="bubblewrap",
    )
