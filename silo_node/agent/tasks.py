"""What a silo must remember over a crash: what it has read of the log, said, decided and found wrong.

A statement is made once, kept here first, and sent again from here: said twice it would carry two nonces. What is
computed and sealed is in the files of its study (``silo_node.agent.study_files``).
"""

import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from protocol.canonical import digest
from protocol.charter import Charter
from protocol.follow import Follower, Verified
from protocol.journal import Claim
from protocol.signing import Signed, parse
from protocol.translog import LogView
from silo_node.agent.job_memory import JobMemory
from silo_node.agent.witness_memory import WitnessMemory

Answer = Literal["accept", "refuse", "release"]


@dataclass(frozen=True, slots=True)
class Decided:
    """What people and rules decided: answers by study, pauses that may end by study and number, halted studies, and
    studies of which a round waits for the owner."""

    answers: frozenset[tuple[str, Answer]]
    resumed: frozenset[tuple[str, int]]
    halted: frozenset[str]
    held: frozenset[str]


_TABLES = """
CREATE TABLE IF NOT EXISTS follower (
    one INTEGER PRIMARY KEY CHECK (one = 1), founding TEXT NOT NULL, charter TEXT,
    origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (log_index INTEGER PRIMARY KEY, at TEXT NOT NULL, wire BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS checkpoints (
    next INTEGER PRIMARY KEY, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (name TEXT PRIMARY KEY, wire BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_wire ON outbox (wire);
CREATE TABLE IF NOT EXISTS promised (log_index INTEGER PRIMARY KEY, wire BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS answers (study TEXT, answer TEXT, reason TEXT NOT NULL, PRIMARY KEY (study, answer));
CREATE TABLE IF NOT EXISTS agreed (study TEXT PRIMARY KEY, sandbox TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS held (study TEXT PRIMARY KEY, why TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS halted (study TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unverified (study TEXT, round INTEGER, PRIMARY KEY (study, round));
CREATE TABLE IF NOT EXISTS resumed (study TEXT, pause INTEGER, PRIMARY KEY (study, pause));
"""

_HEAD, _TYPE, _ISSUER, _LEDGER_HEAD = (
    f"json_extract(CAST(wire AS TEXT), '$.body.{name}')" for name in ("journal_head", "type", "issuer", "ledger_head")
)


class Tasks:
    """The silo's durable memory: one SQLite file in ``folder``."""

    def __init__(self, folder: Path) -> None:
        path = folder / "tasks.sqlite"
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)
        self.witnessing = WitnessMemory(self._db)
        self.jobs = JobMemory(self._db)

    def close(self) -> None:
        self._db.close()

    # -- the log, as far as it was read

    def follower(self) -> Follower | None:
        columns = "founding, charter, origin, size, root, note, next"
        row = self._db.execute(f"SELECT {columns} FROM follower").fetchone()  # noqa: S608  # names of ours
        if row is None:
            return None
        charter = None if row[1] is None else Charter.model_validate_json(row[1])
        return Follower(row[0], charter, LogView(*row[2:6]), row[6])

    def advance(self, follower: Follower, entries: Iterable[Verified]) -> None:
        """Remembers the new view and the entries it brought, both or neither."""
        view = follower.view
        charter = None if follower.charter is None else follower.charter.model_dump_json()
        row = (follower.founding, charter, view.origin, view.size, view.root, view.note, follower.next)
        with self._writing():
            self._db.execute("INSERT OR REPLACE INTO follower VALUES (1, ?, ?, ?, ?, ?, ?, ?)", row)
            rows = [(entry.index, entry.at, entry.signed.wire) for entry in entries]
            self._db.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
            if rows:
                seen = (follower.next, view.size, view.root, view.note)
                self._db.execute("INSERT OR REPLACE INTO checkpoints VALUES (?, ?, ?, ?)", seen)

    def entries(self, after: int = -1) -> Iterator[Verified]:
        """Every entry behind ``after`` that concerns this silo, in the order of the log; verified when it was read."""
        query = "SELECT log_index, at, wire FROM entries WHERE log_index > ? ORDER BY log_index"
        for index, at, wire in self._db.execute(query, (after,)):
            yield Verified(index, at, parse(wire))

    def verified_under(self, index: int) -> LogView | None:
        """The log at the checkpoint under which the entry ``index`` was verified to be included."""
        query = "SELECT size, root, note FROM checkpoints WHERE next > ? ORDER BY next LIMIT 1"
        row = self._db.execute(query, (index,)).fetchone()
        follower = self.follower()
        return None if row is None or follower is None else LogView(follower.view.origin, *row)

    # -- what was said

    def say_once(self, name: str, make: Callable[[], Signed]) -> Signed:
        """The statement kept under ``name``, made and kept now if there is none.

        Looked for and made in one step: a command and the node may say the same at once, and it is said once.
        """
        kept = self.kept(name)
        if kept is not None:
            return kept
        with self._writing():
            return self.kept(name) or self._keep(name, make())

    def promise(self, statements: Iterable[Signed], indices: Iterable[int]) -> None:
        """What the hub said: that it recorded these statements as these leaves."""
        rows = [(index, signed.wire) for index, signed in zip(indices, statements, strict=True)]
        self._db.executemany("INSERT OR REPLACE INTO promised VALUES (?, ?)", rows)

    def promises(self) -> tuple[tuple[int, Signed], ...]:
        """Promises of the hub that the log was not yet held against."""
        rows = self._db.execute("SELECT log_index, wire FROM promised ORDER BY log_index").fetchall()
        return tuple((index, parse(wire)) for index, wire in rows)

    def fulfil(self, index: int, wire: bytes) -> bool:
        """Whether a promised statement was read as that entry; then the promise is forgotten."""
        found = self._db.execute("SELECT 1 FROM entries WHERE log_index = ? AND wire = ?", (index, wire)).fetchone()
        if found is not None:
            self._db.execute("DELETE FROM promised WHERE log_index = ?", (index,))
        return found is not None

    def kept(self, name: str) -> Signed | None:
        """The statement kept under ``name``."""
        row = self._db.execute("SELECT wire FROM outbox WHERE name = ?", (name,)).fetchone()
        return None if row is None else parse(row[0])

    def say_anew(self, name: str, make: Callable[[], Signed]) -> Signed:
        """Another statement in place of the one kept under ``name``, which will never count.

        In one step: at no time is nothing kept under ``name``. That the older one was signed stays known.
        """
        signed = make()
        with self._writing():
            self._db.execute("UPDATE outbox SET name = name || ' aside ' || rowid WHERE name = ?", (name,))
            return self._keep(name, signed)

    def _keep(self, name: str, signed: Signed) -> Signed:
        self._db.execute("INSERT INTO outbox VALUES (?, ?)", (name, signed.wire))
        return signed

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One step for all processes that have this file open: all of it, or nothing."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def in_log(self, wire: bytes) -> bool:
        """Whether these are the bytes of an entry that was read."""
        return self._db.execute("SELECT 1 FROM entries WHERE wire = ?", (wire,)).fetchone() is not None

    def outbox(self) -> Iterator[Signed]:
        """Every statement that was kept, in the order of keeping."""
        for (wire,) in self._db.execute("SELECT wire FROM outbox ORDER BY rowid"):
            yield parse(wire)

    def own_of_budgets(self, party: str) -> Iterator[Signed]:
        """What ``party`` said of its budgets in the log: datasets, declarations, reservations and settlements."""
        types = "'dataset-registered', 'domain-declared', 'cap-declared', 'spend-reserved', 'spend-settled'"
        query = f"SELECT wire FROM entries WHERE {_ISSUER} = ? AND {_TYPE} IN ({types}) ORDER BY log_index"  # noqa: S608  # names of ours
        for (wire,) in self._db.execute(query, (party,)):
            yield parse(wire)

    def newest_head(self) -> Signed | None:
        """The statement kept last that names a head of the ledger."""
        query = f"SELECT wire FROM outbox WHERE {_LEDGER_HEAD} IS NOT NULL ORDER BY rowid DESC LIMIT 1"  # noqa: S608  # a name of ours
        row = self._db.execute(query).fetchone()
        return None if row is None else parse(row[0])

    def claims(self) -> Iterator[Claim]:
        """What every kept statement says of this silo's journal."""
        for head, name, wire in self._db.execute(f"SELECT {_HEAD}, {_TYPE}, wire FROM outbox ORDER BY rowid"):  # noqa: S608  # names of ours
            named = digest(wire)
            yield Claim(head, named, f"{name} {named[:8]}, which this silo kept")

    def logged(self, party: str, enrolments: bool = False) -> Iterator[tuple[int, Claim]]:
        """What every statement of ``party`` in the log says of its journal, with the index of its leaf.

        Enrolments, if asked for, are not its own word for sure: whoever had the invitation could ask under its name.
        """
        query = f"SELECT log_index, {_HEAD}, {_TYPE}, wire FROM entries WHERE {_ISSUER} = ? ORDER BY log_index"  # noqa: S608  # names of ours
        for index, head, name, wire in self._db.execute(query, (party,)):
            if enrolments or name != "enrolment":
                named = digest(wire)
                yield index, Claim(head, named, f"{name} {named[:8]}, in the log at {index}")

    def said(self, wire: bytes) -> bool:
        """Whether these are the bytes of a statement that was kept before it was sent."""
        return self._db.execute("SELECT 1 FROM outbox WHERE wire = ?", (wire,)).fetchone() is not None

    # -- what people and rules decided

    def answer(self, study: str, answer: Answer, reason: str) -> None:
        """Keeps an owner's answer. The newest counts: a refusal takes back a yes, and a yes a refusal."""
        opposite = ("accept", "release") if answer == "refuse" else ("refuse", "refuse")
        with self._writing():
            self._db.execute("DELETE FROM answers WHERE study = ? AND answer IN (?, ?)", (study, *opposite))
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (study, answer, reason))
            # A new answer is about the node as it is now; the next decision goes by it.
            self._db.execute("DELETE FROM agreed WHERE study = ?", (study,))
            self._db.execute("DELETE FROM held WHERE study = ?", (study,))

    def answered(self, study: str, answer: Answer) -> str | None:
        """The reason that came with an owner's answer, None if there was no such answer."""
        query = "SELECT reason FROM answers WHERE study = ? AND answer = ?"
        row = self._db.execute(query, (study, answer)).fetchone()
        return row[0] if row else None

    def decided(self) -> Decided:
        """All that was answered, let go on and halted, read at once: for looking at many studies."""
        return Decided(
            frozenset(self._db.execute("SELECT study, answer FROM answers")),
            frozenset(self._db.execute("SELECT study, pause FROM resumed")),
            frozenset(study for (study,) in self._db.execute("SELECT study FROM halted")),
            frozenset(study for (study,) in self._db.execute("SELECT study FROM held")),
        )

    def agree(self, study: str, sandbox: str) -> None:
        """Keeps the sandbox level at the first decision after an answer: that is what the owner agreed to."""
        self._db.execute("INSERT OR IGNORE INTO agreed VALUES (?, ?)", (study, sandbox))
        self._db.execute("DELETE FROM held WHERE study = ?", (study,))

    def agreed(self, study: str) -> str | None:
        """The sandbox level that the owner's newest answer was about; None before anything was decided by it."""
        row = self._db.execute("SELECT sandbox FROM agreed WHERE study = ?", (study,)).fetchone()
        return row[0] if row else None

    def hold(self, study: str, why: str) -> None:
        """Remembers that a round waits for the owner, until they answer."""
        self._db.execute("INSERT OR REPLACE INTO held VALUES (?, ?)", (study, why))

    def held(self, study: str) -> str | None:
        """Why a round of ``study`` waits for the owner; None if it doesn't."""
        row = self._db.execute("SELECT why FROM held WHERE study = ?", (study,)).fetchone()
        return row[0] if row else None

    def halt(self, study: str, reason: str) -> None:
        """This silo does nothing more in ``study``; the first reason stays."""
        self._db.execute("INSERT OR IGNORE INTO halted VALUES (?, ?)", (study, reason))

    def halted(self, study: str) -> str | None:
        row = self._db.execute("SELECT reason FROM halted WHERE study = ?", (study,)).fetchone()
        return row[0] if row else None

    def resume(self, study: str, pause: int) -> None:
        """Keeps the owner's word that the study's pause number ``pause`` may end."""
        self._db.execute("INSERT OR IGNORE INTO resumed VALUES (?, ?)", (study, pause))

    def resumed(self, study: str, pause: int) -> bool:
        query = "SELECT 1 FROM resumed WHERE study = ? AND pause = ?"
        return self._db.execute(query, (study, pause)).fetchone() is not None

    # -- what was found wrong

    def distrust_sum(self, study: str, index: int) -> None:
        """Remembers that the served sum of a round did not verify here: it is not examined again."""
        self._db.execute("INSERT OR IGNORE INTO unverified VALUES (?, ?)", (study, index))

    def sum_distrusted(self, study: str, index: int) -> bool:
        query = "SELECT 1 FROM unverified WHERE study = ? AND round = ?"
        return self._db.execute(query, (study, index)).fetchone() is not None
