"""What a silo must remember over a crash: what it has read of the log, said, decided, computed and sealed.

Everything that leaves the silo is made once, kept here first, and sent again from here: a statement said twice
would carry two nonces, an update sealed twice under one freeze would give the hub an equation in the key.
"""

import os
import shutil
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Literal

from protocol import canonical
from protocol.canonical import digest
from protocol.charter import Charter
from protocol.follow import Follower, Verified
from protocol.signing import Signed, parse
from protocol.spend import Event, parse_events
from protocol.translog import LogView, VerifierKey
from silo_node.agent.witness_memory import WitnessMemory
from silo_node.private_files import private_folder, sync_folder, write_private, writing_private

Answer = Literal["accept", "refuse", "release"]

_TABLES = """
CREATE TABLE IF NOT EXISTS follower (
    one INTEGER PRIMARY KEY CHECK (one = 1), founding TEXT NOT NULL, verifier TEXT NOT NULL, charter TEXT,
    origin TEXT NOT NULL, size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL, next INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS entries (log_index INTEGER PRIMARY KEY, at TEXT NOT NULL, wire BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS outbox (name TEXT PRIMARY KEY, wire BLOB NOT NULL);
CREATE INDEX IF NOT EXISTS outbox_wire ON outbox (wire);
CREATE TABLE IF NOT EXISTS answers (study TEXT, answer TEXT, reason TEXT NOT NULL, PRIMARY KEY (study, answer));
CREATE TABLE IF NOT EXISTS halted (study TEXT PRIMARY KEY, reason TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS unverified (study TEXT, round INTEGER, PRIMARY KEY (study, round));
CREATE TABLE IF NOT EXISTS resumed (study TEXT, pause INTEGER, PRIMARY KEY (study, pause));
"""


class Tasks:
    """The silo's durable memory in ``folder``: one SQLite file, and a folder for each study."""

    def __init__(self, folder: Path) -> None:
        self._studies = private_folder(folder / "studies")
        path = folder / "tasks.sqlite"
        if not path.exists():
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        self._db = sqlite3.connect(path, timeout=30, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")
        self._db.executescript(_TABLES)
        self.witnessing = WitnessMemory(self._db)

    def close(self) -> None:
        self._db.close()

    # -- the log, as far as it was read

    def follower(self) -> Follower | None:
        columns = "founding, verifier, charter, origin, size, root, note, next"
        row = self._db.execute(f"SELECT {columns} FROM follower").fetchone()  # noqa: S608  # names of ours
        if row is None:
            return None
        charter = None if row[2] is None else Charter.model_validate_json(row[2])
        return Follower(row[0], VerifierKey.parse(row[1]), charter, LogView(*row[3:7]), row[7])

    def advance(self, follower: Follower, entries: Iterable[Verified]) -> None:
        """Remembers the new view and the entries it brought, both or neither."""
        view = follower.view
        charter = None if follower.charter is None else follower.charter.model_dump_json()
        known = (follower.founding, str(follower.verifier), charter)
        row = (*known, view.origin, view.size, view.root, view.note, follower.next)
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("INSERT OR REPLACE INTO follower VALUES (1, ?, ?, ?, ?, ?, ?, ?, ?)", row)
            rows = [(entry.index, entry.at, entry.signed.wire) for entry in entries]
            self._db.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def entries(self) -> Iterator[Verified]:
        """Every entry that concerns this silo, in the order of the log; verified when it was read."""
        for index, at, wire in self._db.execute("SELECT log_index, at, wire FROM entries ORDER BY log_index"):
            yield Verified(index, at, parse(wire))

    # -- what was said

    def say_once(self, name: str, make: Callable[[], Signed]) -> Signed:
        """The statement kept under ``name``, made and kept now if there is none."""
        row = self._db.execute("SELECT wire FROM outbox WHERE name = ?", (name,)).fetchone()
        if row is not None:
            return parse(row[0])
        signed = make()
        self._db.execute("INSERT INTO outbox VALUES (?, ?)", (name, signed.wire))
        return signed

    def kept(self, name: str) -> Signed | None:
        """The statement kept under ``name``."""
        row = self._db.execute("SELECT wire FROM outbox WHERE name = ?", (name,)).fetchone()
        return None if row is None else parse(row[0])

    def outbox(self) -> Iterator[Signed]:
        """Every statement that was kept, in the order of keeping."""
        for (wire,) in self._db.execute("SELECT wire FROM outbox ORDER BY rowid"):
            yield parse(wire)

    def said(self, wire: bytes) -> bool:
        """Whether these are the bytes of a statement that was kept before it was sent."""
        return self._db.execute("SELECT 1 FROM outbox WHERE wire = ?", (wire,)).fetchone() is not None

    # -- what people and rules decided

    def answer(self, study: str, answer: Answer, reason: str) -> None:
        """Keeps an owner's answer. The newest counts: a refusal takes back a yes, and a yes a refusal."""
        opposite = ("accept", "release") if answer == "refuse" else ("refuse", "refuse")
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM answers WHERE study = ? AND answer IN (?, ?)", (study, *opposite))
            self._db.execute("INSERT OR REPLACE INTO answers VALUES (?, ?, ?)", (study, answer, reason))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def answered(self, study: str, answer: Answer) -> str | None:
        """The reason that came with an owner's answer, None if there was no such answer."""
        query = "SELECT reason FROM answers WHERE study = ? AND answer = ?"
        row = self._db.execute(query, (study, answer)).fetchone()
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

    # -- what was computed, sealed and found wrong

    def distrust_sum(self, study: str, index: int) -> None:
        """Remembers that the served sum of a round did not verify here: it is not examined again."""
        self._db.execute("INSERT OR IGNORE INTO unverified VALUES (?, ?)", (study, index))

    def sum_distrusted(self, study: str, index: int) -> bool:
        query = "SELECT 1 FROM unverified WHERE study = ? AND round = ?"
        return self._db.execute(query, (study, index)).fetchone() is not None

    def keep_secret(self, study: str, epoch: int, secret: bytes) -> None:
        write_private(self._study(study) / f"secret-{epoch}", secret)

    def secret(self, study: str, epoch: int) -> bytes | None:
        return _read(self._study(study) / f"secret-{epoch}")

    def keep_update(self, study: str, index: int, compute: Callable[[BinaryIO], tuple[Event, ...]]) -> None:
        """The DP update of a round, before anything of it is announced.

        ``compute`` writes the update (little-endian float64) and gives the events that were run for it; if it raises,
        nothing is kept.
        """
        with writing_private(self._round(study, index) / "update") as file:
            events = canonical.encode([event.model_dump(mode="json") for event in compute(file)])
            # Before the update has its name: where there is an update, it is known what it cost.
            write_private(self._round(study, index) / "ran", events)

    def ran(self, study: str, index: int) -> tuple[Event, ...]:
        """The events that were run for a kept update."""
        return parse_events(canonical.decode((self._round(study, index) / "ran").read_bytes()))

    def update(self, study: str, index: int) -> Path | None:
        """The file of a round's kept update."""
        path = self._round(study, index) / "update"
        return path if path.exists() else None

    def keep_state(self, study: str, index: int, write: Callable[[BinaryIO], None]) -> None:
        """Keeps what ``write`` writes as the study's state after round ``index``; if it raises, nothing of it."""
        with writing_private(self._state(study, index)) as file:
            write(file)

    def open_state(self, study: str, index: int) -> BinaryIO | None:
        """The study's state after round ``index`` as a file to read, None if it isn't kept."""
        try:
            return self._state(study, index).open("rb")
        except FileNotFoundError:
            return None

    def state(self, study: str, index: int) -> bytes | None:
        """The study's state after round ``index``, held whole: for its release."""
        return _read(self._state(study, index))

    def keep_same_state(self, study: str, index: int) -> None:
        """A void round: the state after it is the one before it, whatever was kept. Nothing changes if it is so."""
        before, after = self._state(study, index - 1), self._state(study, index)
        # The state before goes once the one after was made the same.
        if not (after.exists() and (not before.exists() or after.samefile(before))):
            aside = after.with_name(f"same-{index}")
            aside.unlink(missing_ok=True)
            aside.hardlink_to(before)
            aside.replace(after)
            sync_folder(after.parent)

    def newest_state(self, study: str) -> int:
        """Index of the last round whose state is kept, -1 before any."""
        names = (path.name.partition("-")[2] for path in self._study(study).glob("state-*"))
        return max((int(name) for name in names if name.isdecimal()), default=-1)

    def deal_once(self, study: str, index: int, attempt: int, make: Callable[[], bytes]) -> bytes:
        """The masks of an attempt, made and kept now if there are none; the file goes with its round."""
        path = self._round(study, index) / f"masks-{attempt}"
        if not path.exists():
            write_private(path, make())
        return path.read_bytes()

    def masks(self, study: str, index: int, attempt: int) -> bytes | None:
        """The masks that ``deal_once`` kept for an attempt."""
        return _read(self._round(study, index) / f"masks-{attempt}")

    def seal_once(self, study: str, index: int, freeze: bytes, make: Callable[[], Iterable[bytes]]) -> list[Path]:
        """The files of a sealed term's chunks, made and kept now unless they were sealed under ``freeze`` before."""
        folder = self._sealed(study, index, freeze)
        done = folder / "digests"
        if not done.exists():
            names = []
            for number, chunk in enumerate(make()):
                write_private(folder / f"{number}", chunk)
                names.append(digest(chunk))
            write_private(done, "\n".join(names).encode())
        return [folder / f"{number}" for number in range(len(done.read_text().split()))]

    def sealed_digests(self, study: str, index: int, freeze: bytes) -> tuple[str, ...]:
        """SHA-256 of each chunk that was sealed under ``freeze``."""
        return tuple((self._sealed(study, index, freeze) / "digests").read_text().split())

    def seal_release_once(self, study: str, recipient: str, make: Callable[[], bytes]) -> bytes:
        """The release sealed for ``recipient``, made and kept now if there is none."""
        path = self._study(study) / f"release-{recipient}"
        if not path.exists():
            write_private(path, make())
        return path.read_bytes()

    def sum_folder(self, study: str, index: int) -> Path:
        """Where the chunks of a served sum are kept while they are checked."""
        return private_folder(self._round(study, index) / "sum")

    def shares_folder(self, study: str, index: int) -> Path:
        """Where the others' bundles of mask shares are kept."""
        return private_folder(self._round(study, index) / "shares")

    def sum_chunks(self, study: str, index: int) -> int:
        """How many chunks of a served sum are kept so far."""
        return sum(path.name.isdecimal() for path in self.sum_folder(study, index).iterdir())

    def forget_rounds(self, study: str, through: int) -> None:
        """Removes updates, sealed terms, masks and sums of the rounds up to ``through``, and the states before it."""
        for folder in self._study(study).glob("round-*"):
            if int(folder.name.partition("-")[2]) <= through:
                shutil.rmtree(folder)
        for state in self._study(study).glob("state-*"):
            index = state.name.partition("-")[2]
            # What isn't decimal is the beginning of a state, left by a node that was killed.
            if not index.isdecimal() or int(index) < through:
                state.unlink()

    def forget_secrets(self, study: str, before: int) -> None:
        """Removes the study secrets of the epochs before ``before``."""
        for secret in self._study(study).glob("secret-*"):
            if int(secret.name.partition("-")[2]) < before:
                secret.unlink()

    def _sealed(self, study: str, index: int, freeze: bytes) -> Path:
        return private_folder(self._round(study, index) / f"sealed-{freeze.hex()[:32]}")

    def _study(self, study: str) -> Path:
        return private_folder(self._studies / study)

    def _state(self, study: str, index: int) -> Path:
        return self._study(study) / f"state-{index}"

    def _round(self, study: str, index: int) -> Path:
        return private_folder(self._study(study) / f"round-{index}")


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
