"""A long log of an honest consortium, written as an export: every signature, proof and charge in it is real.

Several domains at four silos, in each a row of studies with their rounds, side by side as they would run. Only what
the log can't see is made up: the digests of uploads, the shares, the states. Studies are signed in several processes.
"""

import math
import multiprocessing
import tempfile
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count, islice
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.audit_study import APPROVERS, START, Keys, Recorded, Scribe, write_study
from client.keys import Card, Identity, new_identity
from protocol import canonical, membership_statements
from protocol.calibration import build_contract
from protocol.charter import Charter, charter_digest
from protocol.export import write_export
from protocol.ids import timestamp
from protocol.published_column import PublishedColumn
from protocol.signed_note import VerifierKey
from protocol.study import StudyContract
from protocol.succession import sign_charter
from protocol.training_draft import TrainingDraft
from protocol.translog import Checkpoint, TreeHead, sign_checkpoint
from protocol.tree import GrowingTree
from protocol.yaml_draft import load_yaml

SAMPLE: Final = Path(__file__).parents[1] / "docs" / "samples" / "heart.yaml"
SILOS: Final = {"cleveland": 303, "hungarian": 261, "switzerland": 46, "va-long-beach": 130}
ADMINS: Final = (*APPROVERS, "sofia")
"""The first two of them decide."""
ORIGIN: Final = "hub.example/log"
ROUNDS: Final = 60
LEAVES_OF_A_STUDY: Final = 13 + 32 * (ROUNDS + 2)
STUDIES_AT_ONCE: Final = 8


@dataclass(frozen=True, slots=True)
class Founded:
    """A consortium whose silos have registered ``domains`` datasets each, and what that took of the log."""

    keys: Keys
    charters: tuple[str, ...]
    datasets: dict[str, tuple[TrainingDraft, dict[str, membership_statements.DatasetRegistered]]]
    leaves: list[Recorded]

    @property
    def founding(self) -> str:
        return self.charters[0]


def found(domains: int) -> Founded:
    people: dict[str, Identity] = {name: new_identity(name) for name in (*ADMINS, "grace", *SILOS)}
    raw = {f"silo:{name}" if name in SILOS else f"person:{name}": _raw(one.signing) for name, one in people.items()}
    raw |= {party: _raw(Ed25519PrivateKey.generate()) for party in ("hub", "log")}
    scribe = Scribe(Keys(raw), 0, count())
    charter = _founding(scribe.keys, people)
    charters = [charter]
    _publish(scribe, charter)
    founding = charter_digest(charter)
    for name in SILOS:
        card = people[name].card
        member = {"silo": name, **_public(card)}
        expires = timestamp(START + timedelta(days=1))
        scribe.say(membership_statements.Invitation, "person:ada", silo=name, code="0" * 64, expires_at=expires)
        scribe.say(membership_statements.Enrolment, f"silo:{name}", charter=founding, **member)
        value = charters[-1].model_dump(mode="json")
        value |= {"version": charters[-1].version + 1, "previous": charter_digest(charters[-1])}
        value["members"] += [member]
        charters.append(Charter.model_validate_json(canonical.encode(value)))
        _publish(scribe, charters[-1])
    datasets = {f"heart-{number}": _register(scribe, f"heart-{number}") for number in range(domains)}
    return Founded(scribe.keys, tuple(map(charter_digest, charters)), datasets, scribe.written)


def _publish(scribe: Scribe, charter: Charter) -> None:
    signatures = tuple(sign_charter(charter, name, scribe.keys.of(f"person:{name}")) for name in APPROVERS)
    scribe.say(membership_statements.CharterPublished, "person:ada", charter=charter, signatures=signatures)


def _founding(keys: Keys, people: dict[str, Identity]) -> Charter:
    public = {party: keys.of(party).public_key().public_bytes_raw().hex() for party in ("hub", "log")}
    named = [
        {"person": name, "role": role, "decision_key": None, **_public(one)}
        for name, role in (*((name, "admin") for name in ADMINS), ("grace", "researcher"))
        for one in (people[name].card,)
    ]
    value = {
        "format": "consortia-charter/2",
        "consortium": "Benchmark",
        "version": 1,
        "previous": None,
        "expires_at": "2036-01-01T00:00:00Z",
        "threshold": 2,
        "hub_key": public["hub"],
        "log_origin": ORIGIN,
        "log_key": public["log"],
        "members": [],
        "people": named,
        "witnesses": [],
        "tolerated_liars": 0,
    }
    return Charter.model_validate_json(canonical.encode(value))


def _public(card: Card) -> dict[str, str]:
    return {"signing_key": card.signing_key, "receiving_key": card.receiving_key}


def _register(scribe: Scribe, dataset: str) -> tuple[TrainingDraft, dict[str, membership_statements.DatasetRegistered]]:
    draft = TrainingDraft.model_validate_json(canonical.encode(load_yaml(SAMPLE.read_bytes())))
    training = draft.training.model_copy(update={"rounds": ROUNDS})
    draft = draft.model_copy(update={"data": draft.data.model_copy(update={"dataset": dataset}), "training": training})
    columns = tuple(
        PublishedColumn.model_validate({"minimum": 0.0, "maximum": 1.0, **column.model_dump(exclude_none=True)})
        for column in (*draft.data.features, draft.data.target)
    )
    found = {}
    for silo, rows in SILOS.items():
        domain = {"domain": dataset, "unit": "subject", "epsilon": 1000.0, "delta": 1e-3, "order": 4}
        body = scribe.say(
            membership_statements.DatasetRegistered,
            f"silo:{silo}",
            dataset=dataset,
            columns=columns,
            rows=rows,
            **domain,
        ).body
        assert isinstance(body, membership_statements.DatasetRegistered)
        found[silo] = body
    return draft, found


def contracts(founded: Founded, studies: int) -> Iterator[StudyContract]:
    """``studies`` different ones, in turn over the datasets."""
    bases = [build_contract(draft, registered) for draft, registered in founded.datasets.values()]
    for number in range(studies):
        base = bases[number % len(bases)]
        yield base.model_copy(update={"title": f"{base.title}, number {number}"})


def write_log(path: Path, leaves: int, processes: int) -> tuple[str, int]:
    """An export of ``leaves`` leaves or a few more (whole studies); the founding charter's digest, and how many."""
    studies = max(1, math.ceil(leaves / LEAVES_OF_A_STUDY))
    founded = found(domains=1 + studies // 150)  # a study costs epsilon 5, a domain's cap is 1000
    tree = GrowingTree()
    with tempfile.TemporaryFile("w+", encoding="utf-8", newline="\n", dir=path.parent) as body:
        for line in _lines(founded, _grown(tree, _all(founded, studies, processes))):
            body.write(line)
        body.seek(0)
        with path.open("w", encoding="utf-8", newline="\n") as file:
            file.write(_header(founded, tree))
            for line in body:
                file.write(line)
    return founded.founding, tree.size


def _all(founded: Founded, studies: int, processes: int) -> Iterator[Recorded]:
    yield from founded.leaves
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        waiting = enumerate(contracts(founded, studies))
        while group := list(islice(waiting, STUDIES_AT_ONCE)):
            written = [pool.submit(write_study, founded.keys, contract, number) for number, contract in group]
            yield from _side_by_side([one.result() for one in written])


def _side_by_side(studies: list[list[Recorded]]) -> Iterator[Recorded]:
    for place in range(max(map(len, studies))):
        yield from (study[place] for study in studies if place < len(study))


def _grown(tree: GrowingTree, leaves: Iterable[Recorded]) -> Iterator[Recorded]:
    for entry, wire in leaves:
        tree.append(entry.leaf_hash())
        yield entry, wire


def _lines(founded: Founded, leaves: Iterator[Recorded]) -> Iterator[str]:
    lines = write_export("", _verifier(founded), founded.charters, leaves)
    next(lines)  # the header is written when the tree is known
    return lines


def _header(founded: Founded, tree: GrowingTree) -> str:
    head = TreeHead(tree.size, tree.root)
    checkpoint = Checkpoint.stamped(ORIGIN, head, founded.charters[-1], datetime.now(UTC))
    note = sign_checkpoint(checkpoint, ORIGIN, founded.keys.of("log"))
    return next(write_export(note, _verifier(founded), founded.charters, ()))


def _verifier(founded: Founded) -> VerifierKey:
    return VerifierKey(ORIGIN, founded.keys.of("log").public_key())


def _raw(key: Ed25519PrivateKey) -> bytes:
    return key.private_bytes_raw()
