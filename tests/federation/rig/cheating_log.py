"""A log of its own for one silo: it begins as everybody's, and goes on as the hub likes. Properly signed, all of it."""

from datetime import UTC, datetime
from typing import Any

from hub.audit.merkle import MerkleTree
from hub.services.wiring import Services
from hub.store import log as log_store
from hub.store import silos as silo_store
from hub.store.log import Reader
from protocol.chain import study_of
from protocol.ids import timestamp
from protocol.routes import Follow, LoggedEntry, ReceivedChunks
from protocol.signing import Signed, parse
from protocol.translog import Checkpoint, LogEntry, leaf_hash, sign_checkpoint


class _Nodes(dict[Any, bytes]):
    def get_nodes(self, places: Any) -> dict[Any, bytes]:
        return {place: self[place] for place in places if place in self}

    def put_nodes(self, nodes: Any) -> None:
        self.update(nodes)


class SplitLog:
    """What one silo is shown, and what it says in turn, which nobody else gets to read unless a test relays it."""

    def __init__(self, services: Services, silo: str) -> None:
        self.silo = silo
        with services.database.reading() as connection:
            self._signer = services.recorder.signer(connection)
        self.said: list[Signed] = []
        self.chunks: dict[tuple[int, int, int], bytes] = {}
        reader = Reader(f"silo:{silo}", False, False)
        with services.database.reading() as connection:
            size = log_store.read_head(connection).size
            known = log_store.all_entries(connection, reader, 0, size)
            self._charter = silo_store.charter_digest(connection)
        self._entries = [(entry.leaf, entry.wire) for entry in known]
        hashes = [leaf_hash(entry.leaf.encode()) for entry in known]
        self._tree = MerkleTree(_Nodes(), 0).append(hashes)

    @property
    def size(self) -> int:
        return len(self._entries)

    def cut_at(self, statement: str) -> None:
        """Leaves out the statement with this digest and whatever followed it; the silo must not have seen them."""
        kept = next(at for at, (leaf, _) in enumerate(self._entries) if f'"digest":"{statement}"' in leaf)
        del self._entries[kept:]
        hashes = [leaf_hash(leaf.encode()) for leaf, _ in self._entries]
        self._tree = MerkleTree(_Nodes(), 0).append(hashes)

    def record(self, signed: Signed) -> int:
        """Shows `signed` to the silo as the log's next entry."""
        body, now = signed.body, timestamp(datetime.now(UTC))
        leaf = LogEntry(
            kind=body.type,
            digest=signed.digest,
            issuer=body.issuer,
            study=study_of(body),
            round=None,
            recorded_at=now,
        )
        self._tree = self._tree.append([leaf.leaf_hash()])
        self._entries.append((leaf.leaf_bytes().decode(), signed.wire))
        return len(self._entries) - 1

    def follow(self, after: int) -> Follow:
        """What the silo's poll is answered."""
        size, now = self._tree.size, datetime.now(UTC)
        checkpoint = Checkpoint.stamped(self._signer.origin, self._tree.head(), self._charter, now)
        return Follow(
            checkpoint=sign_checkpoint(checkpoint, self._signer.origin, self._signer.key),
            consistency=tuple(node.hex() for node in self._tree.consistency_proof(after)) if after < size else (),
            entries=tuple(self._entry(at) for at in range(after, size) if self._entries[at][1] is not None),
            next=size,
        )

    def _entry(self, at: int) -> LoggedEntry:
        leaf, wire = self._entries[at]
        proof = tuple(node.hex() for node in self._tree.inclusion_proof(at))
        return LoggedEntry(index=at, leaf=leaf, statement=(wire or b"").decode(), proof=proof)

    # -- what the silo says and sends, which the hub keeps to itself

    def post(self, wires: Any) -> tuple[int, ...]:
        known = {wire: at for at, (_, wire) in enumerate(self._entries)}
        indices = []
        for wire in wires:
            if wire not in known:
                self.said.append(parse(wire))
                known[wire] = self.record(self.said[-1])
            indices.append(known[wire])
        return tuple(indices)

    def take_chunk(self, study: str, index: int, attempt: int, position: int, content: bytes, header: Any) -> bool:
        self.chunks[index, attempt, position] = content
        return True

    def received(self, study: str, index: int, attempt: int) -> ReceivedChunks:
        return ReceivedChunks(digests=(None,))

    def words(self, kind: type[Any]) -> list[Any]:
        """The silo's statements of a kind since the split."""
        return [signed.body for signed in self.said if isinstance(signed.body, kind)]
