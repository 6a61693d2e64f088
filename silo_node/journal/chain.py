"""The silo's journal in SQLite: a chain of hashes by the rules of ``protocol.journal``, written before anything leaves.

A file that is taken away, replaced or cut back while it is in use is noticed at the next entry, before anything more
leaves: another file would hold another past.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from protocol.journal import EMPTY, Chain, JournalBroken, JournalEvent, Kind, chain_hash, event_bytes
from protocol.period import Period
from silo_node.errors import JournalDamaged

FILE: Final = "journal.sqlite"

_STUDY, _KIND, _WHAT = (f"json_extract(CAST(event AS TEXT), '$.{name}')" for name in ("study", "kind", "what"))


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry as it lies in the file; ``before`` is the hash that it was chained to, ``event`` canonical bytes."""

    index: int
    before: str
    hash: str
    event: bytes


@dataclass(frozen=True, slots=True)
class JournalEntry:
    """An event at its place, with the hash that covers it and all before."""

    index: int
    hash: str
    event: JournalEvent


class Journal:
    """The journal in one file. Several processes of a silo may write to it; each entry is durable on return."""

    def __init__(self, path: Path) -> None:
        self._path = path
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.execute(
            "CREATE TABLE IF NOT EXISTS journal (entry INTEGER PRIMARY KEY, hash TEXT NOT NULL, event BLOB NOT NULL)"
        )
        self._db.execute(f"CREATE INDEX IF NOT EXISTS journal_what ON journal ({_STUDY}, {_KIND}, {_WHAT})")
        self._file, self._seen = self._identity(), self._last()

    @classmethod
    def existing(cls, path: Path) -> Self:
        """The journal of a silo that has joined. Raises ``JournalDamaged`` if there is none: it is never made anew."""
        if not path.exists():
            raise JournalDamaged(
                f"{path} is missing. A silo's journal begins when it joins (consortia-silo join) and is never made "
                "anew. Nothing is run without it; restore the newest one, or call the admin"
            )
        return cls(path)

    def record(self, make: Callable[[str], JournalEvent]) -> str:
        """Appends the event that ``make`` gives for the present head; returns the head before it."""
        return self.record_all(lambda head: [make(head)])

    def record_all(self, make: Callable[[str], list[JournalEvent]]) -> str:
        """Appends several events in one durable step; returns the head before the first.

        Raises ``JournalDamaged`` if the file is no longer the one that was opened, or lacks what was in it.
        """
        with self._writing():
            self._check_in_use()
            index, head = self._last()
            before = head
            for event in make(head):
                data = event_bytes(event)
                index, head = index + 1, chain_hash(head, data)
                self._db.execute("INSERT INTO journal VALUES (?, ?, ?)", (index, head, data))
        # After it is durable, so that nothing leaves on an entry in a file that was unlinked meanwhile.
        self._check_file()
        self._seen = index, head
        return before

    def head(self) -> str:
        """The hash of the newest entry, 64 hexadecimal characters; zeros for an empty journal."""
        return self._last()[1]

    def stored(self, first: int = 1, last: int | None = None) -> Iterator[Stored]:
        """The entries from number ``first`` to ``last``, the chain checked from the very first one.

        Raises ``JournalDamaged`` at the first that doesn't fit.
        """
        chain = Chain()
        query = "SELECT entry, hash, CAST(event AS BLOB) FROM journal WHERE entry <= ? ORDER BY entry"
        for index, stored, data in self._db.execute(query, (2**62 if last is None else last,)):
            try:
                before = chain.take(index, stored, data)
            except JournalBroken as problem:
                raise JournalDamaged(str(problem)) from None
            if index >= first:
                yield Stored(index, before, stored, data)

    def entries(self, first: int = 1, last: int | None = None) -> Iterator[JournalEntry]:
        """The same entries, read. Raises ``JournalDamaged`` at the first bad one."""
        for one in self.stored(first, last):
            yield JournalEntry(one.index, one.hash, JournalEvent.model_validate_json(one.event))

    def newest(self, period: Period, study: str, first: int, most: int) -> tuple[list[JournalEntry], int]:
        """``most`` entries of a period, newest first, ``first`` left out; with how many there are in all.

        ``study``: of studies whose id begins so. Each entry is held against its hash and the hash before it, so none
        can be another than was chained there; the chain as a whole is checked by ``entries``.
        """
        of_study = ""
        values: list[bytes | str] = [*_bounds(period)]
        if study:
            of_study, values = f"AND {_STUDY} >= ? AND {_STUDY} < ?", [*values, study, study + "~"]
        chosen = f"FROM journal WHERE substr(event, 8, 20) >= ? AND substr(event, 8, 20) < ? {of_study}"
        (total,) = self._db.execute(f"SELECT count(*) {chosen}", values).fetchone()  # names of ours
        query = f"SELECT entry, hash, CAST(event AS BLOB) {chosen} ORDER BY entry DESC LIMIT ? OFFSET ?"
        return [self._held(*row) for row in self._db.execute(query, [*values, most, first]).fetchall()], total

    def named(self, study: str, kind: Kind, prefix: str) -> frozenset[str]:
        """Every ``what`` of that kind and study that begins with ``prefix``, found by an index.

        For showing only: unlike ``entries`` it does not check the chain.
        """
        query = f"SELECT {_WHAT} FROM journal WHERE {_STUDY} = ? AND {_KIND} = ? AND {_WHAT} >= ? AND {_WHAT} < ?"  # noqa: S608  # names of ours
        rows = self._db.execute(query, (study, kind, prefix, prefix + chr(0x10FFFF)))
        return frozenset(row[0] for row in rows)

    def newest_first(self, kind: Kind, prefix: str = "") -> Iterator[JournalEntry]:
        """The entries of that kind and of no study whose ``what`` begins with ``prefix``, found by an index.

        Each is held against its hash and the hash before it. Raises ``JournalDamaged``.
        """
        chosen = f"{_STUDY} IS NULL AND {_KIND} = ? AND {_WHAT} >= ? AND {_WHAT} < ?"
        query = f"SELECT entry FROM journal WHERE {chosen} ORDER BY entry DESC"  # noqa: S608  # names of ours
        held = "SELECT entry, hash, CAST(event AS BLOB) FROM journal WHERE entry = ?"
        for (index,) in self._db.execute(query, (kind, prefix, prefix + chr(0x10FFFF))).fetchall():
            yield self._held(*self._db.execute(held, (index,)).fetchone())

    def close(self) -> None:
        self._db.close()

    def _held(self, index: int, stored: str, data: bytes) -> JournalEntry:
        row = self._db.execute("SELECT hash FROM journal WHERE entry = ?", (index - 1,)).fetchone()
        try:
            Chain(index, row[0] if row else EMPTY).take(index, stored, data)
        except (JournalBroken, ValueError) as problem:
            raise JournalDamaged(str(problem)) from None
        return JournalEntry(index, stored, JournalEvent.model_validate_json(data))

    def _last(self) -> tuple[int, str]:
        row = self._db.execute("SELECT entry, hash FROM journal ORDER BY entry DESC LIMIT 1").fetchone()
        return (row[0], row[1]) if row else (0, EMPTY)

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _check_file(self) -> None:
        if self._identity() != self._file:
            raise JournalDamaged(
                f"{self._path} was removed or replaced while this node ran: nothing more leaves; put the file back"
            )

    def _check_in_use(self) -> None:
        self._check_file()
        index, head = self._seen
        row = self._db.execute("SELECT hash FROM journal WHERE entry = ?", (index,)).fetchone()
        if index and (row is None or row[0] != head):
            raise JournalDamaged(
                f"journal entry {index} is no longer what this node wrote or read: the journal was changed or cut back "
                "while the node ran. Nothing more leaves; restore the newest journal, or call the admin"
            )

    @contextmanager
    def _writing(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _bounds(period: Period) -> tuple[bytes, bytes]:
    """The period as an event's canonical bytes tell times: the 20 bytes after its first field's name."""
    return (period.since or "").encode(), (period.until or "~").encode()
