"""The ledger in a SQLite file: append-only entries, replayed and verified on opening.

A charge is on the disk before it is answered: WAL with synchronous=FULL, one entry a transaction, begun with
BEGIN IMMEDIATE so that processes take turns and each sees all entries before it adds its own.
"""

import sqlite3
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from protocol.ids import timestamp
from protocol.spend import Event
from silo_node.errors import LedgerDamaged
from silo_node.ledger.book import Book, Outcome
from silo_node.ledger.budget import Admitted, Balance, Head, PrivacyDomain, Recovered, Refused, Registered, Settled
from silo_node.ledger.caps import Cap, CapBalance, Capped, Room, Use
from silo_node.ledger.entry import EMPTY, Draft, Entry, read, write
from silo_node.ledger.errors import LedgerUnavailable
from silo_node.ledger.opening import open_file, private_file

_Outcome = TypeVar("_Outcome", Registered, Admitted, Settled, Capped, Recovered)


class SqliteLedger:
    """A `Ledger` in one file, safe for many threads and processes on one machine (no network file systems).

    The file is made with mode 0600, its folder with 0700; looser modes are refused. `now` gives the time
    that entries carry, with its zone. Raises LedgerUnavailable, LedgerDamaged or ConfigRefused.
    """

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        self._path = path
        self._now = now
        self._book = Book()
        self._turn = threading.Lock()
        with self._failing_closed():
            self._file = private_file(path)
            self._connection = open_file(path)
        try:
            self.head()
        except BaseException:
            self.close()
            raise

    def register(self, domain: PrivacyDomain, reason: str | None = None) -> Registered | Refused:
        """See `Ledger.register`."""
        return _only(self._written(lambda book: book.register(domain, reason)), Registered)

    def reregister(self, domain: PrivacyDomain, reason: str | None) -> Registered | Refused:
        """See `Ledger.reregister`."""
        return _only(self._written(lambda book: book.register(domain, reason, registered_before=True)), Registered)

    def cap(self, cap: Cap) -> Capped | Refused:
        """See `Ledger.cap`."""
        return _only(self._written(lambda book: book.cap(cap)), Capped)

    def reserve(self, domain: str, charge_id: str, events: Iterable[Event], use: Use) -> Admitted | Refused:
        """See `Ledger.reserve`."""
        return _only(self._written(lambda book: book.reserve(domain, charge_id, events, use)), Admitted)

    def settle(self, charge_id: str, events_run: Iterable[Event]) -> Settled | Refused:
        """See `Ledger.settle`."""
        return _only(self._written(lambda book: book.settle(charge_id, events_run)), Settled)

    def readmit(self, domain: str, charge_id: str, events: Iterable[Event], use: Use) -> Admitted | Refused:
        """See `Ledger.readmit`."""
        return _only(
            self._written(lambda book: book.reserve(domain, charge_id, events, use, admitted_before=True)), Admitted
        )

    def recover(self, heads: Iterable[str]) -> Recovered | Refused:
        """See `Ledger.recover`."""
        return _only(self._written(lambda book: book.recover(heads)), Recovered)

    def room(self, domain: str, use: Use) -> Room | Refused:
        """See `Ledger.room`."""
        with self._entries():
            return self._book.room(domain, use)

    def caps(self, domain: str) -> tuple[CapBalance, ...]:
        """See `Ledger.caps`."""
        with self._entries():
            return self._book.caps(domain)

    def domains(self) -> tuple[PrivacyDomain, ...]:
        """See `Ledger.domains`."""
        with self._entries():
            return self._book.domains

    def balance(self, domain: str) -> Balance | Refused:
        """See `Ledger.balance`."""
        with self._entries():
            return self._book.balance(domain)

    def charge(self, charge_id: str) -> Admitted | Settled | None:
        """See `Ledger.charge`."""
        with self._entries():
            return self._book.charge(charge_id)

    def declared(self) -> tuple[Entry, ...]:
        """See `Ledger.declared`."""
        with self._entries():
            return tuple(self._book.declared)

    def history(self, domain: str) -> tuple[Entry, ...]:
        """See `Ledger.history`; verifies the whole chain anew."""
        with self._entries():
            return tuple(entry for entry in self._read(EMPTY) if entry.domain == domain)

    def head(self) -> Head:
        """See `Ledger.head`."""
        with self._entries():
            return self._book.head

    def extends(self, digest: str) -> bool:
        """See `Ledger.extends`."""
        with self._entries():
            return self._book.holds(digest)

    def close(self) -> None:
        """Gives the file back. The ledger answers nothing after that."""
        with self._turn:
            self._connection.close()

    @contextmanager
    def _entries(self, to_write: bool = False) -> Iterator[None]:
        """One transaction, with the book brought up to date first."""
        with self._turn, self._failing_closed():
            self._require_same_file()
            self._connection.execute("BEGIN IMMEDIATE" if to_write else "BEGIN")
            try:
                self._catch_up()
                yield
            finally:
                # Whatever `_append` has not committed by now must leave no trace.
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")

    def _written(self, ask: Callable[[Book], Draft | Outcome | Refused]) -> Outcome | Refused:
        """The book's answer, with what it drafted on the disk."""
        with self._entries(to_write=True):
            verdict = ask(self._book)
            return self._append(verdict) if isinstance(verdict, Draft) else verdict

    def _append(self, draft: Draft) -> Outcome:
        entry = write(self._book.head, draft, timestamp(self._now()))
        self._connection.execute(
            "INSERT INTO entry (sequence, digest, body) VALUES (?, ?, ?)",
            (entry.head.length, entry.head.digest, entry.body),
        )
        self._connection.execute("COMMIT")
        # Only now: had the commit failed, the book must not know of it. Should it have reached the disk all
        # the same, the next turn reads it from there, and a retry finds its own admission.
        return self._book.apply(entry)

    def _catch_up(self) -> None:
        known = self._book.head
        if known != EMPTY and self._stored_digest(known.length) != known.digest:
            raise LedgerDamaged(
                f"entry {known.length} of the ledger is gone or changed: its file was put back or edited"
            )
        for entry in self._read(known):
            self._book.apply(entry)

    def _read(self, after: Head) -> Iterator[Entry]:
        rows = self._connection.execute(
            "SELECT sequence, digest, body FROM entry WHERE sequence > ? ORDER BY sequence", (after.length,)
        )
        for sequence, digest, body in rows:
            if not isinstance(body, bytes):
                raise LedgerDamaged(f"entry {sequence} of the ledger has no body of bytes: it was changed")
            entry = read(after, body)
            if (sequence, digest) != (entry.head.length, entry.head.digest):
                raise LedgerDamaged(
                    f"entry {sequence} of the ledger breaks the chain: it, or one before it, was changed"
                )
            yield entry
            after = entry.head

    def _stored_digest(self, sequence: int) -> str | None:
        row = self._connection.execute("SELECT digest FROM entry WHERE sequence = ?", (sequence,)).fetchone()
        return None if row is None else str(row[0])

    def _require_same_file(self) -> None:
        """A backup moved into place would be written by others while this process still sees the old file."""
        found = self._path.stat()
        if (found.st_dev, found.st_ino) != self._file:
            raise LedgerDamaged("the ledger's file was replaced while it was in use: stop, and start again")

    @contextmanager
    def _failing_closed(self) -> Iterator[None]:
        try:
            yield
        except (OSError, sqlite3.Error) as problem:
            # The subclasses tell of locks, room and permissions; the plain class means an unsound file.
            if type(problem) is sqlite3.DatabaseError:
                raise LedgerDamaged(f"the ledger {self._path.name} is unsound ({problem}): ask a person") from problem
            raise LedgerUnavailable(
                f"the ledger {self._path.name} can't be read or written ({_cause(problem)}); make room "
                "or mend its permissions, then retry"
            ) from problem


def _cause(problem: OSError | sqlite3.Error) -> str:
    """Without the full path, which an OSError's text would tell."""
    return problem.strerror or "input or output failed" if isinstance(problem, OSError) else str(problem)


def _only(outcome: object, wanted: type[_Outcome]) -> _Outcome | Refused:
    if isinstance(outcome, (wanted, Refused)):
        return outcome
    raise TypeError(f"the book answered with {type(outcome).__name__} where {wanted.__name__} was due")
