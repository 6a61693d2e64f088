"""A silo's folder as a node leaves it after many studies: log, journal, ledger and one dataset. No hub is asked."""

import base64
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.cohorts.heart import heart_contract
from compose.heart import SCHEMA
from policies import catalogue as shipped
from protocol.charter import Charter, Member, Person, charter_digest
from protocol.follow import Follower, Verified
from protocol.ids import timestamp
from protocol.journal import JournalEvent
from protocol.membership_statements import CharterPublished
from protocol.sealing import envelope
from protocol.signing import sign
from protocol.spend import Gaussian
from protocol.statements import Body
from protocol.study import StudyContract, study_id
from protocol.study_statements import StudyApproved, StudyProposed
from protocol.succession import sign_charter
from protocol.translog import LogView
from silo_node.agent.tasks import Tasks
from silo_node.app import LIMITS, POLICY
from silo_node.config import SiloConfig, save
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Checked, register
from silo_node.dataset.schema import parse_schema
from silo_node.hub_client.identity import Identity
from silo_node.journal.chain import FILE, Journal
from silo_node.ledger.budget import PrivacyDomain
from silo_node.ledger.caps import Use
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.private_files import write_private

Keys = dict[str, Ed25519PrivateKey]
Role = Literal["admin", "researcher"]
SILOS: Final = ("alpha", "bravo", "charlie", "delta")
START: Final = datetime(2026, 1, 1, tzinfo=UTC)
ORIGIN: Final = "bench.example/log"


def write_silo(folder: Path, studies: int, entries: int) -> list[str]:
    """Writes silo alpha's folder; the ids of its studies, oldest first, none of them answered."""
    folder.mkdir(mode=0o700)
    identity = Identity.create(SILOS[0], folder)
    charter, keys = _charter(identity)
    digest = charter_digest(charter)
    save(SiloConfig(silo=SILOS[0], hub_url="http://127.0.0.1:9", charter=digest), folder)
    for name, text in ((POLICY, shipped.policy_text("baseline")), (LIMITS, shipped.limits_text("baseline"))):
        write_private(folder / name, text.encode())
    contract = heart_contract(1.0, dict.fromkeys(SILOS, 300))
    contracts: list[StudyContract] = [
        contract.model_copy(update={"title": f"Study number {number}"}) for number in range(studies)
    ]
    names = [study_id(one) for one in contracts]
    _write_log(folder, charter, _signed(charter, contracts, keys))
    _write_journal(folder, names, entries)
    _write_ledger(folder, contract, names)
    return names


def _charter(identity: Identity) -> tuple[Charter, Keys]:
    """With the signing keys of everybody but alpha."""
    keys = {name: Ed25519PrivateKey.generate() for name in (*SILOS[1:], "ada", "rosa", "hub", "log")}
    public = {name: key.public_key().public_bytes_raw().hex() for name, key in keys.items()}
    own = Member(silo=SILOS[0], signing_key=identity.signing_public, receiving_key=identity.receiving_public)
    others = (Member(silo=name, signing_key=public[name], receiving_key=_receiving()) for name in SILOS[1:])
    roles: tuple[tuple[str, Role], ...] = (("ada", "admin"), ("rosa", "researcher"))
    charter = Charter(
        format="consortia-charter/2",
        consortium="Benchmark",
        version=1,
        previous=None,
        expires_at="2030-01-01T00:00:00Z",
        threshold=1,
        hub_key=public["hub"],
        log_origin=ORIGIN,
        log_key=public["log"],
        members=(own, *others),
        people=tuple(
            Person(person=name, role=role, signing_key=public[name], receiving_key=_receiving(), decision_key=None)
            for name, role in roles
        ),
        witnesses=(),
        tolerated_liars=0,
    )
    return charter, keys


def _receiving() -> str:
    return base64.b64encode(envelope.generate_keys().public).decode()


def _signed(charter: Charter, contracts: list[StudyContract], keys: Keys) -> Iterator[Verified]:
    """The charter, then each study with its approval."""
    signed = (sign_charter(charter, "ada", keys["ada"]),)
    bodies: list[Body] = [CharterPublished(type="charter", charter=charter, signatures=signed, **_opening("ada"))]
    for contract in contracts:
        bodies.append(StudyProposed(type="study-proposed", contract=contract, **_opening("rosa")))
        study = study_id(contract)
        bodies.append(StudyApproved(type="study-approved", study=study, assertion=None, **_opening("ada")))
    for index, body in enumerate(bodies):
        yield Verified(
            index, timestamp(START + timedelta(minutes=index)), sign(body, keys[body.issuer.partition(":")[2]])
        )


def _opening(person: str) -> dict[str, Any]:
    nonce = secrets.token_hex(16)
    return {"issuer": f"person:{person}", "issued_at": timestamp(START), "nonce": nonce, "journal_head": None}


def _write_log(folder: Path, charter: Charter, entries: Iterator[Verified]) -> None:
    tasks, known = Tasks(folder), [*entries]
    size = len(known)
    tasks.advance(Follower(charter_digest(charter), charter, LogView(ORIGIN, size, b"\0" * 32, ""), size), known)
    tasks.close()


def _write_journal(folder: Path, studies: list[str], entries: int) -> None:
    def made(_: str) -> list[JournalEvent]:
        return [_event(number, studies[number % len(studies)]) for number in range(entries)]

    journal = Journal(folder / FILE)
    journal.record_all(made)
    journal.close()


def _event(number: int, study: str) -> JournalEvent:
    at, what = timestamp(START + timedelta(minutes=number)), f"round 1 attempt 1 chunk {number}"
    return JournalEvent(at=at, kind="chunk", what=what, to="hub", study=study, digest=study, size=1_000_000)


def _write_ledger(folder: Path, contract: StudyContract, studies: list[str]) -> None:
    """One dataset, and one small charge for every study."""
    schema, privacy, dataset = parse_schema(SCHEMA, "heart"), contract.privacy, contract.data.dataset
    asked = register(dataset, folder / "heart.csv", schema, "patients", 10.0, privacy.delta, privacy.order, 300)
    Catalogue(folder / "datasets").add(asked, lambda _: Checked("a" * 64, 300, {}), timestamp(START))
    ledger = SqliteLedger(folder / "ledger" / "ledger.sqlite", lambda: START)
    ledger.register(PrivacyDomain("patients", asked.unit, 10.0, privacy.delta, privacy.order))
    charge = (Gaussian(kind="gaussian", noise_multiplier=1000.0, count=1, unit=asked.unit),)
    for study in studies:
        ledger.reserve("patients", f"{study}:0", charge, Use(dataset, study, contract.recipients))
    ledger.close()
