"""A consortium in memory: real keys, real statements, a real log, and a hub that answers over a mock transport."""

import base64
import itertools
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.admin import code_digest
from client.charter_changes import HubCard, founding_charter
from client.connection import Connection, Surroundings, connect
from client.keys import Identity, new_identity, write_identity
from protocol import canonical, membership_statements, round_statements, routes, signing, study_statements
from protocol.calibration import build_contract
from protocol.charter import Charter, charter_digest
from protocol.cosignature import cosign
from protocol.draft import read_draft
from protocol.export import write_export
from protocol.ids import timestamp
from protocol.published_column import PublishedColumn
from protocol.rounds import freeze_digest, last_round, round_events, round_layout
from protocol.sealing.envelope import generate_keys
from protocol.signed_note import VerifierKey
from protocol.signing import Signed
from protocol.study import StudyContract, study_id
from protocol.succession import sign_charter
from protocol.translog import Checkpoint, LogEntry, TreeHead, sign_checkpoint, tree_root

SAMPLE = Path(__file__).parents[3] / "docs" / "samples" / "heart.yaml"
ROWS = {"cleveland": 303, "hungarian": 261, "switzerland": 46, "va-long-beach": 130}
START = datetime(2026, 11, 22, 12, 0, 0, tzinfo=UTC)
ORIGIN = "hub.example/log"
HUB = "https://hub.example"
NAME = "Heart Consortium"


def inclusion(index: int, hashes: list[bytes]) -> list[bytes]:
    """RFC 6962, 2.1.1."""
    if len(hashes) <= 1:
        return []
    k = _split(len(hashes))
    if index < k:
        return [*inclusion(index, hashes[:k]), tree_root(hashes[k:])]
    return [*inclusion(index - k, hashes[k:]), tree_root(hashes[:k])]


def consistency(first: int, hashes: list[bytes], whole: bool = True) -> list[bytes]:
    """RFC 6962, 2.1.2."""
    if first in (0, len(hashes)):
        return [] if whole else [tree_root(hashes)]
    k = _split(len(hashes))
    if first <= k:
        return [*consistency(first, hashes[:k], whole), tree_root(hashes[k:])]
    return [*consistency(first - k, hashes[k:], False), tree_root(hashes[:k])]


def _split(size: int) -> int:
    k = 1
    while 2 * k < size:
        k *= 2
    return k


@dataclass
class Silo:
    name: str
    signing: Ed25519PrivateKey
    receiving: Any

    @property
    def member(self) -> dict[str, str]:
        return {
            "silo": self.name,
            "signing_key": self.signing.public_key().public_bytes_raw().hex(),
            "receiving_key": base64.b64encode(self.receiving.public).decode(),
        }


TOKEN_ANSWER = {"access_token": "token", "token_type": "DPoP", "expires_in": 300, "scope": "log:read"}


@dataclass
class World:
    """The log and whoever writes it. ``say`` signs and records; ``handle`` is the hub over HTTP."""

    ada: Identity
    grace: Identity
    hub_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    log_key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    leaves: list[tuple[LogEntry, bytes]] = field(default_factory=list)
    silos: dict[str, Silo] = field(default_factory=dict)
    charters: list[Charter] = field(default_factory=list)
    pending: list[dict[str, str]] = field(default_factory=list)
    blobs: dict[str, bytes] = field(default_factory=dict)
    status: list[dict[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    answers_per_poll: int = 1000
    broken: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    faults: list[int] = field(default_factory=list)
    seconds: float = START.timestamp()
    witnessed: str = ""
    nonces: Any = field(default_factory=itertools.count)
    identities: dict[str, Identity] = field(default_factory=dict)

    @property
    def card(self) -> HubCard:
        public = [key.public_key().public_bytes_raw().hex() for key in (self.hub_key, self.log_key)]
        return HubCard(consortium=NAME, hub_key=public[0], log_key=public[1], log_origin=ORIGIN)

    @property
    def founding(self) -> str:
        return charter_digest(self.charters[0])

    def key_of(self, issuer: str) -> Ed25519PrivateKey:
        kind, _, name = issuer.partition(":")
        if kind == "hub":
            return self.hub_key
        people = {"ada": self.ada, "grace": self.grace, **self.identities}
        return self.silos[name].signing if kind == "silo" else people[name].signing

    def heading(self, issuer: str) -> dict[str, Any]:
        return {
            "issuer": issuer,
            "issued_at": timestamp(datetime.fromtimestamp(self.seconds, UTC)),
            "nonce": f"{next(self.nonces):032x}",
            "journal_head": "0" * 64 if issuer.startswith("silo:") else None,
        }

    def signed(self, kind: Any, issuer: str, **fields: Any) -> Signed:
        body = kind(type=kind.model_fields["type"].annotation.__args__[0], **fields, **self.heading(issuer))
        return signing.sign(body, self.key_of(issuer))

    def record(self, signed: Signed) -> int:
        body = signed.body
        study = getattr(body, "study", None)
        if isinstance(body, study_statements.StudyProposed):
            study = study_id(body.contract)
        if isinstance(body, membership_statements.CharterPublished):
            self.charters.append(body.charter)
        entry = LogEntry(
            kind=body.type,
            digest=signed.digest,
            issuer=body.issuer,
            study=study,
            round=None,
            recorded_at=timestamp(datetime.fromtimestamp(self.seconds, UTC)),
        )
        self.leaves.append((entry, signed.wire))
        self.seconds += 1
        return len(self.leaves) - 1

    def say(self, kind: Any, issuer: str, **fields: Any) -> Signed:
        signed = self.signed(kind, issuer, **fields)
        self.record(signed)
        return signed

    def succeed(self, **added: list[dict[str, str]]) -> None:
        older = self.charters[-1]
        value = older.model_dump(mode="json")
        value |= {"version": older.version + 1, "previous": charter_digest(older)}
        for name, more in added.items():
            value[name] += more
        charter = Charter.model_validate_json(canonical.encode(value))
        self.publish(charter)

    def publish(self, charter: Charter) -> None:
        """``charter`` with ada's signature alone."""
        signatures = (sign_charter(charter, "ada", self.ada.signing),)
        self.say(membership_statements.CharterPublished, "person:ada", charter=charter, signatures=signatures)

    @property
    def hashes(self) -> list[bytes]:
        return [entry.leaf_hash() for entry, _ in self.leaves]

    def checkpoint(self, size: int | None = None) -> str:
        hashes = self.hashes[:size]
        charter = charter_digest(self.charters[-1])
        head = TreeHead(len(hashes), tree_root(hashes))
        now = datetime.fromtimestamp(self.seconds, UTC)
        return sign_checkpoint(Checkpoint.stamped(ORIGIN, head, charter, now), ORIGIN, self.log_key)

    def export(self) -> list[str]:
        verifier = VerifierKey(ORIGIN, self.log_key.public_key())
        digests = [charter_digest(charter) for charter in self.charters]
        return list(write_export(self.checkpoint(), verifier, digests, self.leaves, witnessed=self.witnessed))

    def cosign(self, *silos: str, size: int | None = None) -> str:
        """The log's checkpoint, now or at a size before, with the silos' cosignatures; exports show it from now on."""
        note = self.checkpoint(size)
        lines = [
            cosign(note, f"{ORIGIN}/silo/{name}", self.silos[name].signing, int(self.seconds)) + "\n" for name in silos
        ]
        self.witnessed = note + "".join(lines)
        return self.witnessed

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.calls.append(f"{request.method} {request.url.path}")
        if self.faults:
            return httpx.Response(self.faults.pop(0))
        path, query = request.url.path, parse_qs(request.url.query.decode())
        if path == routes.CHARTER and request.method == "POST":
            return httpx.Response(200, json={"indices": [self.record(signing.parse(request.content.rstrip()))]})
        if path == routes.CHARTER:
            wires = [wire for entry, wire in self.leaves if entry.kind == "charter"]
            return httpx.Response(200, content=b"".join(wire + b"\n" for wire in wires))
        if path == routes.LOG_WITNESSED and self.witnessed:
            return httpx.Response(200, content=self.witnessed.encode())
        if path == routes.LOG_WITNESSED:
            problem = {"type": "consortia:not-found", "title": "No", "status": 404, "detail": "there is none yet"}
            return httpx.Response(404, json=problem)
        if path == routes.TOKENS:
            return httpx.Response(200, json=TOKEN_ANSWER)
        if path == routes.STATEMENTS and request.method == "POST":
            signed = [signing.parse(line) for line in request.content.splitlines()]
            return httpx.Response(200, json={"indices": [self.record(one) for one in signed]})
        if request.headers.get("Authorization") != "DPoP token" or not request.headers.get("DPoP"):
            problem = {"type": "consortia:unauthenticated", "title": "Who?", "status": 401, "detail": "no token"}
            return httpx.Response(401, json=problem)
        return self._known(path, query)

    def _known(self, path: str, query: dict[str, list[str]]) -> httpx.Response:
        if path == routes.POLL:
            answer = self._follow(int(query["after"][0]))
            return httpx.Response(200, json=self.broken(answer) if self.broken else answer)
        if path == routes.LOG_CONSISTENCY:
            first, second = int(query["first"][0]), int(query["second"][0])
            return httpx.Response(200, json=[one.hex() for one in consistency(first, self.hashes[:second])])
        if path == routes.ENROLMENTS:
            return httpx.Response(200, json=self.pending)
        if path == routes.LOG_EXPORT:
            return httpx.Response(200, content="".join(self.export()).encode())
        if path.startswith(routes.STUDIES) and "/blobs/" in path:
            return httpx.Response(200, content=self.blobs[path.rsplit("/", 1)[1]])
        if path.startswith(routes.STUDIES + "/"):
            return httpx.Response(200, json=self.status.pop(0) if len(self.status) > 1 else self.status[0])
        problem = {"type": "consortia:not-found", "title": "No", "status": 404, "detail": "there is no such thing"}
        return httpx.Response(404, json=problem)

    def _follow(self, after: int) -> dict[str, Any]:
        hashes = self.hashes
        stop = min(len(hashes), after + self.answers_per_poll)
        entries = [
            {
                "index": index,
                "leaf": self.leaves[index][0].leaf_bytes().decode(),
                "statement": self.leaves[index][1].decode(),
                "proof": [one.hex() for one in inclusion(index, hashes)],
            }
            for index in range(after, stop)
        ]
        proof = [one.hex() for one in consistency(after, hashes)] if 0 < after <= len(hashes) else []
        return {"checkpoint": self.checkpoint(), "consistency": proof, "entries": entries, "next": stop}

    def connect(self, key: Path, founding: str | None = None) -> Connection:
        around = Surroundings(
            notice=lambda _: None,
            transport=httpx.MockTransport(self.handle),
            clock=lambda: self.seconds,
            pause=lambda _: None,
        )
        return connect(HUB, key, founding or self.founding, around)


def found_world(cap: float = 10.0) -> World:
    """A charter with an admin, a researcher and four silos, each with a registered dataset."""
    world = World(new_identity("ada"), new_identity("grace"))
    world.publish(founding_charter(world.card, [world.ada.card], 1, START))
    for name in ROWS:
        silo = Silo(name, Ed25519PrivateKey.generate(), generate_keys())
        world.silos[name] = silo
        invitation = {"silo": name, "code": code_digest("CODE"), "expires_at": "2026-11-23T00:00:00Z"}
        world.say(membership_statements.Invitation, "person:ada", **invitation)
        world.say(membership_statements.Enrolment, f"silo:{name}", charter=world.founding, **silo.member)
        world.succeed(members=[silo.member])
    grace = world.grace.card
    person = {"person": "grace", "role": "researcher"}
    keys = {"signing_key": grace.signing_key, "receiving_key": grace.receiving_key, "decision_key": None}
    world.succeed(people=[{**person, **keys}])
    for name, rows in ROWS.items():
        register(world, name, rows, cap)
    return world


def register(world: World, name: str, rows: int, cap: float) -> None:
    draft = read_draft(SAMPLE)
    columns = [
        {"minimum": 0.0, "maximum": 1.0, **column.model_dump(exclude_none=True)}
        for column in (*draft.data.features, draft.data.target)
    ]
    parsed = tuple(PublishedColumn.model_validate(column) for column in columns)
    privacy = {"domain": "patients", "unit": "subject", "epsilon": cap, "delta": 1e-3, "order": 4}
    world.say(
        membership_statements.DatasetRegistered, f"silo:{name}", dataset="heart", columns=parsed, rows=rows, **privacy
    )


def make_contract(world: World, **changes: Any) -> StudyContract:
    found = {}
    for _, wire in world.leaves:
        body = signing.parse(wire).body
        if isinstance(body, membership_statements.DatasetRegistered):
            found[body.issuer.removeprefix("silo:")] = body
    draft = read_draft(SAMPLE)
    training = draft.training.model_copy(update={"rounds": 2, "averaged_rounds": 1} | changes)
    return build_contract(draft.model_copy(update={"training": training}), found)


def run_study(world: World, contract: StudyContract, void: int | None = None) -> str:
    """The whole life of a study in the log, as honest parties write it; the sum of round ``void`` doesn't verify."""
    study = study_id(contract)
    names = contract.silo_names
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    world.say(study_statements.StudyApproved, "person:ada", study=study, assertion=None)
    for name in names:
        fields = {"policy": "1" * 64, "dataset_commitment": "2" * 64, "decided_by": "owner-rule"}
        world.say(study_statements.StudyAccepted, f"silo:{name}", study=study, **fields)
    share_key(world, contract, 1)
    base = "0" * 64
    for index in range(last_round(contract) + 1):
        base = serve_round(world, contract, index, base)
        if index != void:
            close_round(world, contract, index, base)
            continue
        void_round(world, contract, index, base)
        share_key(world, contract, 2)
    world.say(study_statements.StudyClosed, "hub", study=study, outcome="completed", reason="all rounds are done")
    return study


MASK_OFFER = {"mask_key": "9".rjust(64, "0"), "self_commitment": "1" * 64, "shares": "2" * 64}


def share_key(world: World, contract: StudyContract, epoch: int) -> None:
    study, names = study_id(contract), contract.silo_names
    world.say(study_statements.StudyKeying, "hub", study=study, epoch=epoch, silos=names)
    for name in names:
        world.say(study_statements.SecretCommitment, f"silo:{name}", study=study, epoch=epoch, commitment="3" * 64)


def serve_round(world: World, contract: StudyContract, index: int, base: str) -> str:
    """A round up to its served sum, whose statement's digest it gives."""
    study, names = study_id(contract), contract.silo_names
    at = {"study": study, "round": index}
    due = {"due_at": "2026-11-23T00:00:00Z"}
    world.say(round_statements.RoundOpened, "hub", **at, attempt=1, silos=names, **due)
    ready = {}
    for name in names:
        spend = {"domain": "patients", "events": round_events(contract, name, index), "ledger_head": "4" * 64}
        world.say(round_statements.SpendReserved, f"silo:{name}", **at, **spend)
        world.say(round_statements.SpendSettled, f"silo:{name}", **at, **spend)
        ready[name] = world.say(round_statements.RoundReady, f"silo:{name}", **at, attempt=1, **MASK_OFFER).digest
    world.say(round_statements.RoundFrozen, "hub", **at, attempt=1, ready=ready, base=base, **due)
    layout = round_layout(contract, index, len(names))
    freeze = freeze_digest(
        study=study, index=index, attempt=1, silos=tuple(sorted(names)), ready=ready, layout=layout, base=base
    ).hex()
    chunks = ("5" * 64,) * layout.chunks
    for name in names:
        world.say(round_statements.UploadComplete, f"silo:{name}", **at, attempt=1, freeze=freeze, chunks=chunks)
    survivors = tuple(sorted(names))
    return world.say(
        round_statements.SumServed, "hub", **at, attempt=1, survivors=survivors, chunks=chunks, **due
    ).digest


def close_round(world: World, contract: StudyContract, index: int, served: str) -> None:
    names, at = contract.silo_names, {"study": study_id(contract), "round": index, "attempt": 1}
    for name in names:
        world.say(round_statements.SurvivorsSigned, f"silo:{name}", **at, sum=served)
    for name in names:
        world.say(round_statements.SharesRevealed, f"silo:{name}", **at, sum=served, shares="AAAA")
    for name in names:
        world.say(round_statements.SumVerified, f"silo:{name}", **at, sum=served, state_mac="6" * 64)
    world.say(round_statements.RoundClosed, "hub", **at, agreed=names, suspended=())


def void_round(world: World, contract: StudyContract, index: int, served: str) -> None:
    names, at = contract.silo_names, {"study": study_id(contract), "round": index, "attempt": 1}
    for name in names:
        world.say(round_statements.VerificationFailed, f"silo:{name}", **at, sum=served, cause="sum", blamed=())
    reason = f"the sum didn't verify at {len(names)} silos"
    world.say(round_statements.RoundVoided, "hub", **at, reason=reason, suspended=())


@pytest.fixture
def world() -> World:
    return found_world()


@pytest.fixture
def ada_key(world: World, tmp_path: Path) -> Path:
    write_identity(world.ada, tmp_path / "ada.key")
    return tmp_path / "ada.key"


@pytest.fixture
def grace_key(world: World, tmp_path: Path) -> Path:
    write_identity(world.grace, tmp_path / "grace.key")
    return tmp_path / "grace.key"


@pytest.fixture
def sample() -> Path:
    return SAMPLE
