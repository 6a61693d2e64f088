"""A small study contract and the parties of a small consortium, for tests."""

import base64
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.charter import Charter, Member, Person, charter_digest
from protocol.sealing import envelope
from protocol.study import parse_training
from protocol.succession import sign_charter
from protocol.training_study import TrainingContract

SILOS = ("alpha", "bravo", "charlie", "delta")
NOW = "2026-11-22T12:00:00Z"


def contract_values(**changes: Any) -> dict[str, Any]:
    """A valid contract as JSON types; ``changes`` replace whole top-level fields."""
    number = {"kind": "number", "minimum": 0.0, "maximum": 100.0, "unit": ""}
    value: dict[str, Any] = {
        "format": "consortia-study/1",
        "title": "Heart disease",
        "purpose": "medical-research",
        "description": "Predict heart disease from routine measurements.",
        "legal_basis": "Informed consent, ethics vote 17/2026.",
        "kind": "training",
        "lead": "rosa",
        "recipients": ["rosa"],
        "expires_at": "2027-06-30T00:00:00Z",
        "data": {
            "dataset": "heart",
            "features": [{"name": "age", **number}, {"name": "chol", **number}],
            "target": {"name": "ill", "kind": "binary", "minimum": 0.0, "maximum": 1.0, "unit": ""},
        },
        "privacy": {"unit": "record", "epsilon": 5.0, "delta": 0.001, "order": 4},
        "normalisation": {"columns": ["age", "chol"], "clip": 1.5, "noise_multiplier": 6.0},
        "model": {"family": "logistic"},
        "training": {
            "rounds": 2,
            "local_steps": 2,
            "learning_rate": 0.3,
            "weight_decay": 0.0,
            "clip": 1.0,
            "noise_multiplier": 4.0,
            "averaged_rounds": 1,
        },
        "evaluation": {"test_share": 0.34, "noise_multiplier": 4.0},
        "silos": [
            {"silo": name, "rows": 100, "sampling_rate": 1.0, "weight": 0.25, "normaliser": 66.0} for name in SILOS
        ],
        "sealing": {
            "values_per_slot": 3,
            "normalisation_exponent": 7,
            "training_exponent": 1,
            "evaluation_exponent": 7,
        },
        "schedule": {"quorum": 3, "step_timeout_s": 60},
        "release": {"approvals": 2},
    }
    return {**value, **changes}


def contract(**changes: Any) -> TrainingContract:
    return parse_training(contract_values(**changes))


@dataclass(frozen=True)
class Party:
    """Somebody with both keys."""

    name: str
    signing: Ed25519PrivateKey
    receiving: envelope.EnvelopeKeys

    @property
    def public(self) -> dict[str, str]:
        return {
            "signing_key": self.signing.public_key().public_bytes_raw().hex(),
            "receiving_key": base64.b64encode(self.receiving.public).decode(),
        }


def party(name: str) -> Party:
    return Party(name, Ed25519PrivateKey.generate(), envelope.generate_keys())


@dataclass(frozen=True)
class Consortium:
    """An admin, a researcher, four silos, the hub's two keys."""

    admin: Party
    researcher: Party
    silos: dict[str, Party]
    hub: Ed25519PrivateKey
    log: Ed25519PrivateKey

    def charter(self, members: int, previous: Charter | None = None) -> Charter:
        """A charter with the first ``members`` silos, after ``previous``."""
        return Charter(
            format="consortia-charter/2",
            consortium="Test",
            version=1 if previous is None else previous.version + 1,
            previous=None if previous is None else charter_digest(previous),
            expires_at="2030-01-01T00:00:00Z",
            threshold=1,
            hub_key=self.hub.public_key().public_bytes_raw().hex(),
            log_origin="test.example/log",
            log_key=self.log.public_key().public_bytes_raw().hex(),
            members=tuple(Member(silo=name, **self.silos[name].public) for name in SILOS[:members]),
            people=(
                Person(person=self.admin.name, role="admin", decision_key=None, **self.admin.public),
                Person(person=self.researcher.name, role="researcher", decision_key=None, **self.researcher.public),
            ),
            witnesses=(),
            tolerated_liars=0,
        )

    def published(self, charter: Charter) -> dict[str, Any]:
        """The fields of a statement that publishes ``charter``, signed by the admin."""
        return {"charter": charter, "signatures": (sign_charter(charter, self.admin.name, self.admin.signing),)}


def consortium() -> Consortium:
    return Consortium(
        party("ada"),
        party("rosa"),
        {name: party(name) for name in SILOS},
        Ed25519PrivateKey.generate(),
        Ed25519PrivateKey.generate(),
    )
