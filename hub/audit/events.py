"""What a change leaves behind for the log. A state change returns its event; both commit in one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hub.audit.merkle import MerkleTree
from protocol import canonical
from protocol.ids import timestamp
from protocol.translog import LogEntry, leaf_hash

__all__ = ["Appended", "AuditEvent", "append_events"]


@dataclass(frozen=True, slots=True)
class AuditEvent:
    """Bytes to put on record, exactly as received or served, and what the leaf says of them."""

    kind: str
    recorded: bytes
    issuer: str
    study: str | None = None
    round: str | None = None

    def entry(self, recorded_at: datetime) -> LogEntry:
        """The leaf; pydantic's `ValidationError` for a name the protocol doesn't know."""
        return LogEntry(
            kind=self.kind,
            digest=canonical.digest(self.recorded),
            issuer=self.issuer,
            study=self.study,
            round=self.round,
            recorded_at=timestamp(recorded_at),
        )


@dataclass(frozen=True, slots=True)
class Appended:
    """The grown tree and its new leaves as they are hashed, the first of which stands at `first_index`."""

    tree: MerkleTree
    first_index: int
    entries: tuple[LogEntry, ...]
    leaves: tuple[bytes, ...]


def append_events(tree: MerkleTree, events: Sequence[AuditEvent], now: datetime) -> Appended:
    """Append one leaf for each event, in order. All entries are made before any node is stored."""
    entries = tuple(event.entry(now) for event in events)
    leaves = tuple(entry.leaf_bytes() for entry in entries)
    return Appended(tree.append([leaf_hash(leaf) for leaf in leaves]), tree.size, entries, leaves)
