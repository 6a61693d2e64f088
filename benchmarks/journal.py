"""How long a silo's journal takes to check, and who checks it: the owner's commands as processes, the officer's rules.

    python -m benchmarks.journal --entries 1000000 --json

Every tenth entry is a statement that the silo kept and found in the log, the others are chunks; one entry a second.
The period shown is the last 200 entries. Times are CPU seconds; those of commands include Python's own start.
"""

import argparse
import json
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from rich.console import Console
from rich.table import Table

from client.journal import Logged, check_journal, open_journal
from protocol.canonical import digest
from protocol.ids import timestamp
from protocol.journal import JournalEvent, chain_hash, event_bytes, statement_event
from protocol.signing import Signed, sign
from protocol.study_statements import StudyPaused
from silo_node.agent.review import review
from silo_node.agent.tasks import Tasks
from silo_node.config import SiloConfig, save
from silo_node.journal.chain import FILE, Journal

FOUNDING: Final = "f" * 64
STUDY: Final = "a" * 64
BATCH: Final = 10_000
EVERY: Final = 10
SHOWN: Final = 200
START: Final = datetime(2026, 1, 1, tzinfo=UTC)


class Author:
    """Writes a journal, and remembers what was signed."""

    def __init__(self) -> None:
        self._key, self.signed = Ed25519PrivateKey.generate(), list[Signed]()

    def events(self, first: int, head: str) -> list[JournalEvent]:
        """The next batch, from number ``first`` on, whose predecessor has the hash ``head``."""
        made = []
        for number in range(first, first + BATCH):
            made.append(self._event(number, head))
            head = chain_hash(head, event_bytes(made[-1]))
        return made

    def _event(self, number: int, head: str) -> JournalEvent:
        at = timestamp(START + timedelta(seconds=number))
        if number % EVERY == 0:
            self.signed.append(sign(self._statement(number, at, head), self._key))
            return statement_event(self.signed[-1])
        what = f"round {number // 1000} attempt 1 chunk {number % 1000}"
        size, name = 1_000_000, digest(what.encode())
        return JournalEvent(at=at, kind="chunk", what=what, to="hub", study=STUDY, digest=name, size=size)

    def _statement(self, number: int, at: str, head: str) -> StudyPaused:
        return StudyPaused(
            type="study-paused",
            issuer="silo:alpha",
            issued_at=at,
            nonce=f"{number:032x}",
            journal_head=head,
            study=STUDY,
            reason="a statement of the benchmark",
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        result = measure(Path(folder) / "silo", asked.entries)
    if asked.json:
        print(json.dumps(result, indent=1))
        return
    table = Table("figure", "value")
    for name, value in result.items():
        table.add_row(name, f"{value:,.2f}")
    Console().print(table)


def measure(folder: Path, entries: int) -> dict[str, float]:
    """CPU seconds by what was done; ``megabytes`` is the journal's file."""
    folder.mkdir(mode=0o700)
    author = Author()
    _write(folder, author, entries)
    since = timestamp(START + timedelta(seconds=entries - SHOWN))
    file = folder / "journal.jsonl"
    return {
        "entries": entries,
        "statements": len(author.signed),
        "megabytes": (folder / FILE).stat().st_size / 1e6,
        "start of a node: check_journal": _cpu_s(lambda: _review(folder)),
        "journal verify": _cpu_s(lambda: _command(folder, "verify")),
        "journal show --from": _cpu_s(lambda: _command(folder, "show", "--from", since)),
        "journal export": _cpu_s(lambda: _command(folder, "export", "--out", str(file))),
        "audit journal, the log verified before": _cpu_s(lambda: _audit(file, author.signed)),
    }


def _write(folder: Path, author: Author, entries: int) -> None:
    save(SiloConfig(silo="alpha", hub_url="https://hub.example", charter=FOUNDING), folder)
    journal, tasks = Journal(folder / FILE), Tasks(folder)
    for first in range(0, entries, BATCH):
        journal.record_all(lambda head, first=first: author.events(first, head))  # type: ignore[misc]
    with closing(sqlite3.connect(folder / "tasks.sqlite")) as database, database:
        # As Tasks.say_once and Tasks.advance keep them, in one step for speed.
        database.executemany("INSERT INTO outbox VALUES (?, ?)", ((f"{one.digest}", one.wire) for one in author.signed))
        rows = ((leaf, START.isoformat(), one.wire) for leaf, one in enumerate(author.signed))
        database.executemany("INSERT INTO entries VALUES (?, ?, ?)", rows)
    journal.close()
    tasks.close()


def _review(folder: Path) -> None:
    journal, tasks = Journal.existing(folder / FILE), Tasks(folder)
    review(journal, tasks, "silo:alpha")
    journal.close()
    tasks.close()


def _command(folder: Path, *words: str) -> None:
    command = [sys.executable, "-m", "silo_node", "journal", *words, "--folder", str(folder)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def _audit(file: Path, signed: list[Signed]) -> None:
    logged = Logged({one.digest: (leaf, one) for leaf, one in enumerate(signed)})
    with file.open("rb") as lines:
        check_journal(open_journal(lines), lines, logged, FOUNDING)


def _cpu_s(act: Callable[[], None]) -> float:
    before = os.times()
    act()
    return sum(after - earlier for after, earlier in zip(os.times()[:4], before[:4], strict=True))


if __name__ == "__main__":
    main()
