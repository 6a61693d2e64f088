"""The log's leaves, nodes and signed head, and the exact bytes of what was recorded."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Connection,
    Row,
    Select,
    bindparam,
    func,
    insert,
    or_,
    select,
    update,
)

from hub.audit.merkle import NodeId
from hub.store.bulk import insert_rows
from hub.store.tables import log_entries, log_nodes, log_state, refusals, statements, study_parties

MAX_CACHED_NODES = 500_000
MOST_NODES_A_QUERY = 100


@dataclass(frozen=True, slots=True)
class Head:
    """Leaves in the log and its signed checkpoint (empty before the first); `signed_at` in Unix seconds."""

    size: int
    checkpoint: str
    signed_at: int


@dataclass(frozen=True, slots=True)
class Entry:
    """A leaf's row with the recorded bytes."""

    index: int
    kind: str
    digest: str
    issuer: str
    study: str | None
    subject: str | None
    leaf: str
    wire: bytes | None = None


@dataclass(frozen=True, slots=True)
class Reader:
    """Whose entries are asked for: `everything` for admins and officers, `datasets` for researchers too."""

    party: str
    everything: bool
    datasets: bool


class NodeTable:
    """`hub.audit.merkle.NodeStore` in a transaction.

    Nodes never change once they are committed, so those are kept in `cache`; what this transaction put is not,
    for it may yet be rolled back.
    """

    def __init__(self, connection: Connection, cache: dict[NodeId, bytes]) -> None:
        self._connection = connection
        self._cache = cache
        self._own: dict[NodeId, bytes] = {}

    def get_nodes(self, nodes: Sequence[NodeId]) -> Mapping[NodeId, bytes]:
        found = {node: self._own[node] for node in nodes if node in self._own}
        found.update({node: known for node in nodes if (known := self._cache.get(node)) is not None})
        missing = [node for node in nodes if node not in found]
        if missing:
            fresh = dict(_stored(self._connection, missing))
            if len(self._cache) > MAX_CACHED_NODES:
                self._cache.clear()
            self._cache.update(fresh)
            found.update(fresh)
        return found

    def put_nodes(self, nodes: Mapping[NodeId, bytes]) -> None:
        self._own.update(nodes)
        insert_rows(self._connection, log_nodes, [(*place, node) for place, node in nodes.items()])


def _stored(connection: Connection, nodes: Sequence[NodeId]) -> Iterator[tuple[NodeId, bytes]]:
    """Those of the nodes that are stored. Each is looked up in the index: SQLite would scan for a list of pairs."""
    for first in range(0, len(nodes), MOST_NODES_A_QUERY):
        asked = nodes[first : first + MOST_NODES_A_QUERY]
        query = _lookup(len(asked), connection.dialect.name)
        for level, place, node in connection.exec_driver_sql(query, tuple(chain.from_iterable(asked))):
            yield (level, place), bytes(node)


@lru_cache(maxsize=256)
def _lookup(count: int, dialect: str) -> str:
    mark = "?" if dialect == "sqlite" else "%s"
    places = " OR ".join([f"(level = {mark} AND position = {mark})"] * count)
    return f"SELECT level, position, hash FROM log_nodes WHERE {places}"  # noqa: S608  # marks only


def read_nodes(connection: Connection, level: int, first: int, count: int) -> list[bytes]:
    """The hashes of up to `count` nodes of a level from place `first` on, in order."""
    place = log_nodes.c.position
    where = (log_nodes.c.level == level, place >= first, place < first + count)
    return [bytes(one) for one in connection.execute(select(log_nodes.c.hash).where(*where).order_by(place)).scalars()]


# Built once: what every request runs shouldn't be put together again each time.
_HEAD = select(log_state).where(log_state.c.id == 1)
_LOCKED_HEAD = _HEAD.with_for_update()
_NEW_HEAD = update(log_state).where(log_state.c.id == 1)
_STATEMENT = insert(statements)
_INDEX = select(statements.c.log_index).where(statements.c.digest == bindparam("digest"))
_NONCE = select(statements.c.digest).where(
    statements.c.issuer == bindparam("issuer"), statements.c.nonce == bindparam("nonce")
)
_WIRE = select(statements.c.wire).where(statements.c.digest == bindparam("digest"))


def read_head(connection: Connection) -> Head:
    row = connection.execute(_HEAD).one()
    return Head(row.size, row.checkpoint, row.signed_at)


def lock_head(connection: Connection) -> Head:
    """The head, and the sole right to append until the transaction ends."""
    row = connection.execute(_LOCKED_HEAD).one()
    return Head(row.size, row.checkpoint, row.signed_at)


def write_head(connection: Connection, head: Head) -> None:
    connection.execute(_NEW_HEAD, {"size": head.size, "checkpoint": head.checkpoint, "signed_at": head.signed_at})


def insert_entries(connection: Connection, entries: Sequence[Entry]) -> None:
    rows = [
        (entry.index, entry.kind, entry.digest, entry.issuer, entry.study, entry.subject, entry.leaf)
        for entry in entries
    ]
    insert_rows(connection, log_entries, rows)


def insert_statement(connection: Connection, digest: str, wire: bytes, issuer: str, nonce: str, index: int) -> None:
    values = {"digest": digest, "wire": wire, "issuer": issuer, "nonce": nonce, "log_index": index}
    connection.execute(_STATEMENT, values)


def insert_refusal(connection: Connection, digest: str, wire: bytes, reason: str, index: int) -> None:
    connection.execute(insert(refusals).values(digest=digest, wire=wire, reason=reason, log_index=index))


def refusal_index(connection: Connection, digest: str) -> int | None:
    return connection.execute(select(refusals.c.log_index).where(refusals.c.digest == digest)).scalar()


def statement_index(connection: Connection, digest: str) -> int | None:
    """The log index of a recorded statement, by its digest."""
    return connection.execute(_INDEX, {"digest": digest}).scalar()


def nonce_used(connection: Connection, issuer: str, nonce: str) -> bool:
    return connection.execute(_NONCE, {"issuer": issuer, "nonce": nonce}).first() is not None


def wire_of(connection: Connection, digest: str) -> bytes:
    """The recorded bytes of a statement that is known to be there."""
    return bytes(connection.execute(_WIRE, {"digest": digest}).scalar_one())


def wires_of_kind(connection: Connection, kind: str) -> list[bytes]:
    """The recorded bytes of every statement of a kind, oldest first; for kinds of which there are few."""
    query = select(statements.c.wire).join(log_entries, log_entries.c.log_index == statements.c.log_index)
    rows = connection.execute(query.where(log_entries.c.kind == kind).order_by(log_entries.c.log_index))
    return [bytes(row.wire) for row in rows]


def entries_for(connection: Connection, reader: Reader, first: int, end: int, limit: int) -> list[Entry]:
    """Entries first <= index < end that concern `reader`, in order, refusals left out."""
    given = {"party": reader.party, "first": first, "end": end, "most": limit}
    return [_entry(row) for row in connection.execute(_concerning(reader.everything, reader.datasets), given)]


@lru_cache(maxsize=4)
def _concerning(everything: bool, datasets: bool) -> Select[Any]:
    place = log_entries.c.log_index
    return (
        select(log_entries, statements.c.wire)
        .join(statements, statements.c.log_index == place)
        .where(place >= bindparam("first"), place < bindparam("end"), _concerns(everything, datasets))
        .order_by(place)
        .limit(bindparam("most"))
    )


def _concerns(everything: bool, datasets: bool) -> ColumnElement[bool]:
    """What of the log is meant for a party; the texts of nothing else are shown to it."""
    if everything:
        return log_entries.c.log_index >= 0
    party: BindParameter[str] = bindparam("party")
    own = select(study_parties.c.study).where(study_parties.c.party == party)
    kinds = ("charter", "dataset-registered") if datasets else ("charter",)
    return or_(
        log_entries.c.kind.in_(kinds),
        log_entries.c.issuer == party,
        log_entries.c.subject == party,
        log_entries.c.study.in_(own),
    )


def all_entries(connection: Connection, reader: Reader, first: int, end: int) -> list[Entry]:
    """Every entry first <= index < end, refusals too; with the bytes where they concern `reader`."""
    concerns = _concerns(reader.everything, reader.datasets)
    shown = select(log_entries.c.log_index).where(
        log_entries.c.log_index >= first, log_entries.c.log_index < end, concerns
    )
    allowed = set(connection.execute(shown, {"party": reader.party}).scalars())
    wire = func.coalesce(statements.c.wire, refusals.c.wire).label("wire")
    query = (
        select(log_entries, wire)
        .outerjoin(statements, statements.c.log_index == log_entries.c.log_index)
        .outerjoin(refusals, refusals.c.log_index == log_entries.c.log_index)
        .where(log_entries.c.log_index >= first, log_entries.c.log_index < end)
        .order_by(log_entries.c.log_index)
    )
    return [_entry(row, row.log_index in allowed) for row in connection.execute(query)]


def _entry(row: Row[Any], with_wire: bool = True) -> Entry:
    wire = bytes(row.wire) if with_wire and row.wire is not None else None
    return Entry(row.log_index, row.kind, row.digest, row.issuer, row.study, row.subject, row.leaf, wire)
