"""One transaction for a state change, its leaves and the checkpoint that covers them: all of it, or nothing."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from hub.audit.checkpoint import CheckpointSigner
from hub.audit.events import AuditEvent, append_events
from hub.audit.merkle import MerkleTree, NodeId
from hub.services.news import News
from hub.store import candidates as candidate_store
from hub.store import log as log_store
from hub.store import silos as silo_store
from hub.store.database import Database
from hub.store.log import Entry, Head, NodeTable
from protocol import canonical
from protocol.signing import Signed

Clock = Callable[[], datetime]
"""The time, with a zone."""


@dataclass(slots=True)
class Recording:
    """An open transaction. `now` in Unix seconds; `record` gives a leaf's index before it is written.

    `turns` are the indices of entries that parties act on though their kind is quiet (news.py).
    """

    connection: Connection
    moment: datetime
    head: Head
    events: list[AuditEvent] = field(default_factory=list)
    subjects: list[str | None] = field(default_factory=list)
    turns: list[int] = field(default_factory=list)
    afterwards: list[Callable[[], None]] = field(default_factory=list)

    @property
    def now(self) -> int:
        return int(self.moment.timestamp())

    def record(self, signed: Signed, subject: str | None = None) -> int:
        """Put a statement on record; `subject` is a party it concerns beside its issuer and its study's parties."""
        index = self.put(_event(signed), subject)
        log_store.insert_statement(
            self.connection, signed.digest, signed.wire, signed.body.issuer, signed.body.nonce, index
        )
        return index

    def refuse(self, wire: bytes, issuer: str, study: str | None, reason: str) -> None:
        """Put a refusal on record, once for the same bytes."""
        digest = canonical.digest(wire)
        if log_store.refusal_index(self.connection, digest) is None:
            index = self.put(AuditEvent("refusal", wire, issuer, study))
            log_store.insert_refusal(self.connection, digest, wire, reason, index)

    def put(self, event: AuditEvent, subject: str | None = None) -> int:
        """Put a leaf on record whose text, if it is to be shown, is stored elsewhere; its index."""
        self.events.append(event)
        self.subjects.append(subject)
        return self.head.size + len(self.events) - 1


@dataclass(frozen=True, slots=True)
class Recorder:
    """Opens recordings, appends their leaves in one batch, and signs the new head in the same transaction."""

    database: Database
    signer: Callable[[Connection], CheckpointSigner]
    """That of the charter in force at this point of a transaction."""
    news: News
    clock: Clock
    nodes: dict[NodeId, bytes] = field(default_factory=dict, repr=False)
    """The tree's committed nodes, shared with who reads it."""
    witness_every_s: int = 3600
    """After how long the witnesses are shown a new checkpoint; at once when another charter is in force."""

    @contextmanager
    def transaction(self) -> Iterator[Recording]:
        with self.database.writing() as connection:
            recording = Recording(connection, self.clock(), log_store.lock_head(connection))
            yield recording
            renewed = bool(recording.events) and self._append(recording)
        if recording.events:
            for index in recording.turns:
                self.news.turn(index)
            first = recording.head.size
            urgent = (self.news.urgent(first + place, event.kind) for place, event in enumerate(recording.events))
            self.news.ring(renewed or any(urgent))
        for action in recording.afterwards:
            action()

    def refresh(self, older_than_s: int) -> bool:
        """Sign the head again, without new leaves, when its checkpoint is older, or the witnesses are due a new one.

        Says whether it did.
        """
        with self.database.writing() as connection:
            head, moment = log_store.lock_head(connection), self.clock()
            young = moment.timestamp() - head.signed_at < older_than_s
            charter = silo_store.charter_digest(connection)
            if head.size == 0 or (young and not self._due(connection, charter, moment)):
                return False
            self._sign(connection, MerkleTree(NodeTable(connection, self.nodes), head.size), head, moment)
        self.news.ring(urgent=True)
        return True

    def _append(self, recording: Recording) -> bool:
        connection, head = recording.connection, recording.head
        tree = MerkleTree(NodeTable(connection, self.nodes), head.size)
        appended = append_events(tree, recording.events, recording.moment)
        entries = [
            Entry(
                head.size + place,
                entry.kind,
                entry.digest,
                entry.issuer,
                entry.study,
                subject,
                leaf.decode(),
            )
            for place, (entry, leaf, subject) in enumerate(
                zip(appended.entries, appended.leaves, recording.subjects, strict=True)
            )
        ]
        log_store.insert_entries(connection, entries)
        return self._sign(connection, appended.tree, head, recording.moment)

    def _sign(self, connection: Connection, tree: MerkleTree, head: Head, moment: datetime) -> bool:
        """Sign the head; says whether it became the witnesses' new candidate."""
        charter, now = silo_store.charter_digest(connection), int(moment.timestamp())
        note = self.signer(connection).sign(tree, head.checkpoint or None, charter, moment)
        log_store.write_head(connection, Head(tree.size, note, now))
        due = self._due(connection, charter, moment)
        if due:
            candidate_store.add(connection, note, charter, now)
        return due

    def _due(self, connection: Connection, charter: str | None, moment: datetime) -> bool:
        held = candidate_store.newest(connection)
        return held is None or held.charter != charter or moment.timestamp() - held.taken_at >= self.witness_every_s


def _event(signed: Signed) -> AuditEvent:
    body = signed.body
    study = getattr(body, "study", None)
    if body.type == "study-proposed":
        study = canonical.digest(canonical.encode(body.contract.model_dump(mode="json")))
    index, attempt = getattr(body, "round", None), getattr(body, "attempt", None)
    place = None if index is None else str(index) if attempt is None else f"{index}.{attempt}"
    return AuditEvent(body.type, signed.wire, body.issuer, study, place)
