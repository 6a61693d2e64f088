"""Transactions over SQLite or PostgreSQL, with one code path: SQLAlchemy Core."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url

BUSY_MS = 15_000


class Database:
    """`reading` sees a committed state; `writing` is durable once it ends; `noting` is seen by all replicas at once,
    statement by statement, and a power cut may undo its last ones: no disk is waited for.

    SQLite: WAL, synchronous=FULL, BEGIN IMMEDIATE for writers. Writers of this process queue on a lock, for
    SQLite's own waiting is by growing sleeps. PostgreSQL: READ COMMITTED; recorders queue on the row of the log's head.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.is_sqlite = make_url(url).get_backend_name() == "sqlite"
        self.engine = _sqlite_engine(url) if self.is_sqlite else create_engine(url, pool_size=20, max_overflow=30)
        self._notes = _noting_engine(url, self.is_sqlite)
        self._writers = threading.Lock() if self.is_sqlite else nullcontext()

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with (
            self._writers,
            self.engine.connect().execution_options(writer=True) as connection,
            connection.begin(),
        ):
            yield connection

    @contextmanager
    def noting(self) -> Iterator[Connection]:
        with self._writers, self._notes.connect() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()
        self._notes.dispose()


def _noting_engine(url: str, is_sqlite: bool) -> Engine:
    given = {"isolation_level": "AUTOCOMMIT", "pool_size": 8, "max_overflow": 32}
    if not is_sqlite:
        # Committed once it is visible: a crash of the server loses the last fraction of a second.
        return create_engine(url, connect_args={"options": "-c synchronous_commit=off"}, **given)
    engine = create_engine(url, connect_args={"check_same_thread": False}, **given)

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        for pragma in ("journal_mode=WAL", "synchronous=NORMAL", f"busy_timeout={BUSY_MS}"):
            connection.execute(f"PRAGMA {pragma}").close()

    return engine


def _sqlite_engine(url: str) -> Engine:
    engine = create_engine(url, pool_size=20, max_overflow=30, connect_args={"check_same_thread": False})

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, _record: Any) -> None:
        # Transactions are begun below, by name: the driver's own begin is DEFERRED, which can fail halfway.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in ("journal_mode=WAL", "synchronous=FULL", f"busy_timeout={BUSY_MS}", "foreign_keys=ON"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        writer = connection.get_execution_options().get("writer", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writer else "BEGIN")

    return engine
