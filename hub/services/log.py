"""Reading the log: what concerns a party since it last looked, proofs, and the export."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection

from hub.audit.merkle import LogDamaged, MerkleTree, NodeId
from hub.audit.tiles import Tile
from hub.errors import BadRequest, NotFound
from hub.services.identity import Caller
from hub.services.news import News
from hub.services.pinned_charter import PinnedCharter
from hub.store import candidates as candidate_store
from hub.store import log as log_store
from hub.store import silos as silo_store
from hub.store.database import Database
from hub.store.log import Entry, NodeTable
from protocol import canonical
from protocol.export import write_export
from protocol.routes import MAX_ENTRIES_PER_POLL, CheckpointAnswer, Follow, LoggedEntry
from protocol.translog import LogEntry, VerifierKey

MAX_ANSWER_BYTES = 8 * 1024 * 1024
PAGE = 500


@dataclass(frozen=True, slots=True)
class LogReader:
    database: Database
    charters: PinnedCharter
    news: News
    nodes: dict[NodeId, bytes] = field(default_factory=dict, repr=False)

    def follow(self, caller: Caller, after: int, candidate: str | None = None) -> tuple[Follow, bool]:
        """What concerns `caller` from index `after` on, under the newest checkpoint, with proofs for it.

        With it, whether any of it is for a party to act on, so that a waiting poll should end at once; for who
        gives the SHA-256 of the `candidate` that it holds, another one is.
        """
        with self.database.reading() as connection:
            head = log_store.read_head(connection)
            if not 0 <= after <= head.size:
                raise BadRequest(
                    f"after={after}: the log has {head.size} entries; keep your checkpoint and call the admin"
                )
            tree = MerkleTree(NodeTable(connection, self.nodes), head.size)
            limit = MAX_ENTRIES_PER_POLL + 1
            found = log_store.entries_for(connection, caller.reader, after, head.size, limit)
            kept = _fitting(found)
            held = candidate_store.newest(connection)
            note = "" if held is None else held.note
            answer = Follow(
                checkpoint=head.checkpoint,
                consistency=_hexes(tree.consistency_proof(after)),
                entries=tuple(_logged(tree, entry) for entry in kept),
                next=found[len(kept)].index if len(kept) < len(found) else head.size,
                candidate=note,
            )
            other = candidate is not None and canonical.digest(note.encode()) != candidate
            return answer, other or any(self.news.urgent(entry.index, entry.kind) for entry in kept)

    def size(self) -> int:
        with self.database.reading() as connection:
            return log_store.read_head(connection).size

    def state(self) -> tuple[int, int, bool]:
        """What parties wait to see changed: the log's size, the candidate's number, whether it is quorate."""
        with self.database.reading() as connection:
            return (log_store.read_head(connection).size, *candidate_store.state(connection))

    def checkpoint(self) -> CheckpointAnswer:
        """Raises `NotFound` before the first charter."""
        with self.database.reading() as connection:
            head = log_store.read_head(connection)
            charters = silo_store.charter_statements(connection)
        if not charters:
            raise NotFound("the log is empty: no charter is pinned yet")
        return CheckpointAnswer(checkpoint=head.checkpoint, charter=charters[-1][0])

    def note(self) -> str:
        """The newest checkpoint as it was signed. Raises `NotFound` before the first charter."""
        return self.checkpoint().checkpoint

    def tile(self, tile: Tile) -> bytes:
        """A tile's hashes, one after another. Raises `NotFound` for one that the log doesn't fill."""
        with self.database.reading() as connection:
            size = log_store.read_head(connection).size
            if not tile.fits(size):
                raise NotFound(f"{tile}: a log of {size} leaves has no such tile")
            hashes = log_store.read_nodes(connection, tile.node_level, tile.first, tile.width)
        if len(hashes) != tile.width:
            raise LogDamaged(f"{tile}: {len(hashes)} of its {tile.width} nodes are stored")
        return b"".join(hashes)

    def consistency(self, first: int, second: int) -> tuple[str, ...]:
        """Hashes that join the tree of `first` leaves to that of `second`."""
        with self.database.reading() as connection:
            tree = self._tree(connection, second)
            if not 0 <= first <= second:
                raise BadRequest(f"first={first}: it must be from 0 to second={second}")
            return _hexes(tree.consistency_proof(first))

    def inclusion(self, index: int, size: int) -> tuple[str, ...]:
        """Hashes from leaf `index` to the root of `size` leaves."""
        with self.database.reading() as connection:
            tree = self._tree(connection, size)
            if not 0 <= index < size:
                raise BadRequest(f"index={index}: it must be below size={size}")
            return _hexes(tree.inclusion_proof(index))

    def export(self, caller: Caller) -> Iterator[str]:
        """The export's lines; texts that don't concern `caller` are withheld."""
        with self.database.reading() as connection:
            head = log_store.read_head(connection)
            charters = [digest for digest, _ in silo_store.charter_statements(connection)]
            seen = candidate_store.newest_quorate(connection) or candidate_store.newest(connection)
            charter = self.charters.current(connection)
        leaves = self._leaves(caller, head.size)
        witnessed = "" if seen is None else seen.note
        token = "" if seen is None else base64.b64encode(seen.token or b"").decode()
        verifier = VerifierKey.from_hex(charter.log_origin, charter.log_key)
        return write_export(head.checkpoint, verifier, charters, leaves, witnessed=witnessed, timestamp=token)

    def _leaves(self, caller: Caller, size: int) -> Iterator[tuple[LogEntry, bytes | None]]:
        for first in range(0, size, PAGE):
            with self.database.reading() as connection:
                page = log_store.all_entries(connection, caller.reader, first, min(size, first + PAGE))
            for entry in page:
                yield LogEntry.model_validate_json(entry.leaf), entry.wire

    def _tree(self, connection: Connection, size: int) -> MerkleTree:
        known = log_store.read_head(connection).size
        if not 0 <= size <= known:
            raise BadRequest(f"size {size}: the log has {known} entries")
        return MerkleTree(NodeTable(connection, self.nodes), size)


def _fitting(entries: list[Entry]) -> list[Entry]:
    """As many as one answer holds, and at least one."""
    total, kept = 0, 0
    for entry in entries[:MAX_ENTRIES_PER_POLL]:
        total += len(entry.leaf) + len(entry.wire or b"")
        if kept and total > MAX_ANSWER_BYTES:
            break
        kept += 1
    return entries[:kept]


def _logged(tree: MerkleTree, entry: Entry) -> LoggedEntry:
    text = (entry.wire or b"").decode()
    return LoggedEntry(
        index=entry.index, leaf=entry.leaf, statement=text, proof=_hexes(tree.inclusion_proof(entry.index))
    )


def _hexes(hashes: tuple[bytes, ...]) -> tuple[str, ...]:
    return tuple(node.hex() for node in hashes)
