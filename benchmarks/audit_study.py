"""One study of a long log: its whole life as honest parties write it, with real signatures."""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from protocol import round_statements, signing, study_statements
from protocol.ids import timestamp
from protocol.rounds import freeze_digest, last_round, round_events, round_layout
from protocol.signing import Signed
from protocol.study import StudyContract, study_id
from protocol.translog import LogEntry

START: Final = datetime(2026, 1, 1, tzinfo=UTC)
APPROVERS: Final = ("ada", "emmy")

Recorded = tuple[LogEntry, bytes]


@dataclass(frozen=True, slots=True)
class Keys:
    """Everybody's private keys, 32 bytes each, by party; they cross to other processes."""

    raw: dict[str, bytes]

    def of(self, party: str) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.raw[party])


@dataclass(slots=True)
class Scribe:
    """Signs statements and gives them with their leaves, a second apart."""

    keys: Keys
    seconds: float
    nonces: Iterator[int]
    written: list[Recorded] = field(default_factory=list)
    opened: dict[str, Ed25519PrivateKey] = field(default_factory=dict)

    def say(self, kind: Any, issuer: str, **fields: Any) -> Signed:
        at = timestamp(START + timedelta(seconds=self.seconds))
        head = f"{next(self.nonces):064x}" if issuer.startswith("silo:") else None
        heading = {"issuer": issuer, "issued_at": at, "nonce": os.urandom(16).hex(), "journal_head": head}
        key = self.opened.setdefault(issuer, self.keys.of(issuer))
        signed = signing.sign(kind(type=kind.model_fields["type"].annotation.__args__[0], **fields, **heading), key)
        study = study_id(fields["contract"]) if "contract" in fields else fields.get("study")
        entry = LogEntry(
            kind=signed.body.type, digest=signed.digest, issuer=issuer, study=study, round=None, recorded_at=at
        )
        self.written.append((entry, signed.wire))
        self.seconds += 1
        return signed


def write_study(keys: Keys, contract: StudyContract, number: int) -> list[Recorded]:
    """The whole life of a study, as honest parties write it."""
    scribe = Scribe(keys, 1_000_000 + number, count(number << 40))
    study, names = study_id(contract), contract.silo_names
    scribe.say(study_statements.StudyProposed, "person:grace", contract=contract)
    for name in APPROVERS:
        scribe.say(study_statements.StudyApproved, f"person:{name}", study=study, assertion=None)
    for name in names:
        fields = {"policy": "1" * 64, "dataset_commitment": "2" * 64, "decided_by": "owner-rule"}
        scribe.say(study_statements.StudyAccepted, f"silo:{name}", study=study, **fields)
    scribe.say(study_statements.StudyKeying, "hub", study=study, epoch=1, silos=names)
    for name in names:
        scribe.say(study_statements.SecretCommitment, f"silo:{name}", study=study, epoch=1, commitment="3" * 64)
    base = "0" * 64
    for index in range(last_round(contract) + 1):
        base = _round(scribe, contract, index, base)
    scribe.say(study_statements.StudyClosed, "hub", study=study, outcome="completed", reason="all rounds are done")
    return scribe.written


def _round(scribe: Scribe, contract: StudyContract, index: int, base: str) -> str:
    """A round to its end; the digest of the sum that was served."""
    study, names = study_id(contract), contract.silo_names
    at: dict[str, Any] = {"study": study, "round": index, "attempt": 1}
    due = {"due_at": "2030-01-01T00:00:00Z"}
    scribe.say(round_statements.RoundOpened, "hub", **at, silos=names, **due)
    ready = {name: _ready(scribe, contract, index, name) for name in names}
    scribe.say(round_statements.RoundFrozen, "hub", **at, ready=ready, base=base, **due)
    layout, survivors = round_layout(contract, index, len(names)), tuple(sorted(names))
    freeze = freeze_digest(
        study=study, index=index, attempt=1, silos=survivors, ready=ready, layout=layout, base=base
    ).hex()
    for name in names:
        chunks = tuple(os.urandom(32).hex() for _ in range(layout.chunks))
        scribe.say(round_statements.UploadComplete, f"silo:{name}", **at, freeze=freeze, chunks=chunks)
    chunks = tuple(os.urandom(32).hex() for _ in range(layout.chunks))
    served = scribe.say(round_statements.SumServed, "hub", **at, survivors=survivors, chunks=chunks, **due).digest
    for name in names:
        scribe.say(round_statements.SurvivorsSigned, f"silo:{name}", **at, sum=served)
    for name in names:
        scribe.say(round_statements.SharesRevealed, f"silo:{name}", **at, sum=served, shares="A" * 512)
    for name in names:
        scribe.say(round_statements.SumVerified, f"silo:{name}", **at, sum=served, state_mac="6" * 64)
    scribe.say(round_statements.RoundClosed, "hub", **at, agreed=names, suspended=())
    return served


def _ready(scribe: Scribe, contract: StudyContract, index: int, name: str) -> str:
    at = {"study": study_id(contract), "round": index}
    spend = {"domain": contract.data.dataset, "events": round_events(contract, name, index), "ledger_head": "4" * 64}
    scribe.say(round_statements.SpendReserved, f"silo:{name}", **at, **spend)
    scribe.say(round_statements.SpendSettled, f"silo:{name}", **at, **spend)
    mask_key = X25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    offer = {"mask_key": mask_key, "self_commitment": os.urandom(32).hex(), "shares": os.urandom(32).hex()}
    return scribe.say(round_statements.RoundReady, f"silo:{name}", **at, attempt=1, **offer).digest
