"""What the owner decided about jobs, kept over a crash until the node has said it."""

import sqlite3
from typing import Final, Literal

JobAnswer = Literal["approve", "refuse", "release", "discard"]
TABLE: Final = """
CREATE TABLE IF NOT EXISTS job_answers (job TEXT, answer TEXT, detail TEXT NOT NULL, PRIMARY KEY (job, answer));
"""
_TAKES_BACK: Final[dict[JobAnswer, JobAnswer]] = {
    "approve": "refuse",
    "refuse": "approve",
    "release": "discard",
    "discard": "release",
}


class JobMemory:
    """In the silo's own SQLite file."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db
        self._db.executescript(TABLE)

    def answer(self, job: str, answer: JobAnswer, detail: str) -> None:
        """Keeps an answer; the newest counts. ``detail``: the digest it is about, or the reason for a no."""
        self._db.execute("BEGIN IMMEDIATE")
        try:
            self._db.execute("DELETE FROM job_answers WHERE job = ? AND answer = ?", (job, _TAKES_BACK[answer]))
            self._db.execute("INSERT OR REPLACE INTO job_answers VALUES (?, ?, ?)", (job, answer, detail))
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    def answered(self, job: str, answer: JobAnswer) -> str | None:
        """The detail that came with an answer, None if there was no such answer."""
        query = "SELECT detail FROM job_answers WHERE job = ? AND answer = ?"
        row = self._db.execute(query, (job, answer)).fetchone()
        return str(row[0]) if row else None
