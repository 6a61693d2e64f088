"""The silo's journal: an append-only chain of hashes in SQLite, written before anything leaves.

Entry k's hash is SHA-256("consortia/journal/v1" || 0x00 || hash of entry k-1 || canonical JSON of the event).
Every statement carries the hash that was the head before its own entry, so an edited or shortened journal
no longer fits the statements that stand in the hub's log.
"""

import hashlib
import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from protocol import canonical
from silo_node.errors import JournalDamaged
from silo_node.journal.events import JournalEvent, Kind

EMPTY = "0" * 64

_STUDY, _KIND, _WHAT = (f"json_extract(CAST(event AS TEXT), '$.{name}')" for name in ("study", "kind", "what"))


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An event at its place, with the hash that covers it and all before."""

    index: int
    hash: str
    event: JournalEvent


class Journal:
    """The journal in one file. Several processes of a silo may write to it; each entry is durable on return."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS journal (entry INTEGER PRIMARY KEY, hash TEXT NOT NULL, event BLOB NOT NULL)"
        )
        self._db.execute(f"CREATE INDEX IF NOT EXISTS journal_what ON journal ({_STUDY}, {_KIND}, {_WHAT})")

    def record(self, make: Callable[[str], JournalEvent]) -> str:
        """Appends the event that ``make`` gives for the present head; returns the head before it."""
        return self.record_all(lambda head: [make(head)])

    def record_all(self, make: Callable[[str], list[JournalEvent]]) -> str:
        """Appends several events in one durable step; returns the head before the first."""
        with self._writing():
            index, head = self._last()
            before = head
            for event in make(head):
                data = canonical.encode(event.model_dump(mode="json"))
                index, head = index + 1, chain_hash(head, data)
                self._db.execute("INSERT INTO journal VALUES (?, ?, ?)", (index, head, data))
        return before

    def head(self) -> str:
        """The hash of the newest entry, 64 hexadecimal characters; zeros for an empty journal."""
        return self._last()[1]

    def heads(self) -> frozenset[str]:
        """Every hash that was the head at some time."""
        return frozenset([EMPTY, *(row[0] for row in self._db.execute("SELECT hash FROM journal"))])

    def entries(self) -> Iterator[JournalEntry]:
        """All entries, oldest first, checked as they are read. Raises ``JournalDamaged`` at the first bad one."""
        head, expected = EMPTY, 1
        rows = self._db.execute("SELECT entry, hash, CAST(event AS BLOB) FROM journal ORDER BY entry")
        for index, stored, data in rows:
            head = chain_hash(head, data)
            if index != expected or head != stored:
                raise JournalDamaged(f"journal entry {expected} does not fit the chain: it was changed or removed")
            yield JournalEntry(index, stored, JournalEvent.model_validate_json(data))
            expected += 1

    def named(self, study: str, kind: Kind, prefix: str) -> frozenset[str]:
        """Every ``what`` of that kind and study that begins with ``prefix``, found by an index.

        For showing only: unlike ``entries`` it does not check the chain.
        """
        query = f"SELECT {_WHAT} FROM journal WHERE {_STUDY} = ? AND {_KIND} = ? AND {_WHAT} >= ? AND {_WHAT} < ?"  # noqa: S608  # names of ours
        rows = self._db.execute(query, (study, kind, prefix, prefix + chr(0x10FFFF)))
        return frozenset(row[0] for row in rows)

    def close(self) -> None:
        self._db.close()

    def _last(self) -> tuple[int, str]:
        row = self._db.execute("SELECT entry, hash FROM journal ORDER BY entry DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else (0, EMPTY)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def chain_hash(previous: str, event: bytes) -> str:
    """The hash of an entry whose event has the canonical bytes ``event``."""
    return hashlib.sha256(b"consortia/journal/v1\x00" + bytes.fromhex(previous) + event).hexdigest()
