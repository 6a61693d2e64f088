"""The ledger's file: private and durable, opened by many processes at once, refused in a format that is unknown."""

import fcntl
import os
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from silo_node.ledger.errors import LedgerUnavailable
from silo_node.private_files import private_folder

_WAIT_S = 30.0
_VERSION = 2
_OLDER = 1
"""The format without caps and uses: its entries are entries of this one, so its file only gets the new number."""
_SCHEMA = """
CREATE TABLE entry (
    sequence INTEGER PRIMARY KEY CHECK (sequence > 0),
    digest TEXT NOT NULL CHECK (length(digest) = 64),
    body BLOB NOT NULL
);
CREATE TRIGGER entry_is_never_changed BEFORE UPDATE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;
CREATE TRIGGER entry_is_never_deleted BEFORE DELETE ON entry BEGIN SELECT RAISE(ABORT, 'append-only'); END;
"""


def private_file(path: Path) -> tuple[int, int]:
    """Makes the file and its folder if need be; its device and inode number."""
    private_folder(path.parent)
    # SQLite gives its -wal and -shm files the mode of the file itself.
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        found = os.fstat(descriptor)
    finally:
        os.close(descriptor)
    if found.st_mode & 0o077:
        raise LedgerUnavailable(f"the ledger {path.name} is open to others; make it mode 0600")
    return found.st_dev, found.st_ino


def open_file(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_WAIT_S, isolation_level=None, check_same_thread=False)
    try:
        # Turning WAL on ignores the waiting time, so those who open a new file at once queue at its folder.
        with _queued_at(path.parent) as folder:
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("PRAGMA synchronous = FULL")
            _create(connection)
            os.fsync(folder)
    except BaseException:
        connection.close()
        raise
    return connection


@contextmanager
def _queued_at(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _create(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(f"BEGIN IMMEDIATE; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
    elif version == _OLDER:
        connection.execute(f"PRAGMA user_version = {_VERSION}")
    elif version != _VERSION:
        raise LedgerUnavailable(f"the ledger has format {version}; this program writes format {_VERSION}")
