"""What a witness must remember over a crash: the last checkpoint it cosigned, and the newest quorum it saw."""

import sqlite3
from dataclasses import dataclass

_TABLES = """
CREATE TABLE IF NOT EXISTS cosigned (
    one INTEGER PRIMARY KEY CHECK (one = 1), size INTEGER NOT NULL, root BLOB NOT NULL, note TEXT NOT NULL,
    line TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS witnessed (one INTEGER PRIMARY KEY CHECK (one = 1), note TEXT NOT NULL);
"""


@dataclass(frozen=True, slots=True)
class Cosigned:
    """The last checkpoint that was cosigned: its size and root, the note it stood in, and this silo's line."""

    size: int
    root: bytes
    note: str
    line: str


class WitnessMemory:
    """Two rows in the silo's database of tasks; each is durable on return."""

    def __init__(self, database: sqlite3.Connection) -> None:
        self._db = database
        self._db.executescript(_TABLES)

    def last(self) -> Cosigned | None:
        """None before anything was cosigned."""
        row = self._db.execute("SELECT size, root, note, line FROM cosigned").fetchone()
        return None if row is None else Cosigned(*row)

    def remember(self, cosigned: Cosigned) -> None:
        """Before the line is sent."""
        row = (cosigned.size, cosigned.root, cosigned.note, cosigned.line)
        self._db.execute("INSERT OR REPLACE INTO cosigned VALUES (1, ?, ?, ?, ?)", row)

    def quorate(self) -> str:
        """The newest note that a quorum had cosigned when it was seen; empty before the first."""
        row = self._db.execute("SELECT note FROM witnessed").fetchone()
        return "" if row is None else str(row[0])

    def keep_quorate(self, note: str) -> None:
        self._db.execute("INSERT OR REPLACE INTO witnessed VALUES (1, ?)", (note,))
