"""A query to PostgreSQL over ADBC: one statement, in a read-only transaction, within its time, streamed by COPY."""

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import adbc_driver_manager
import polars as pl
import pyarrow
from adbc_driver_postgresql import dbapi

from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.celldigest import digested
from silo_node.dataset.sources.description import PostgresqlDescription
from silo_node.dataset.sources.read_ahead import read_ahead
from silo_node.dataset.sources.source import Take, check_header
from silo_node.dataset.sources.sqlite import ordered
from silo_node.errors import ConfigRefused, DatasetRefused, SourceUnreachable
from silo_node.private_files import read_private

_TLS: Final = {"verify-full": "verify-full", "require": "require", "none": "disable"}
_SAID: Final = {
    "25006": "the query writes; only a query that reads is run",
    "42501": "the user may not read what the query asks for",
}
_PASSING: Final = ("08", "53", "57P")
"""Classes of SQLSTATE that pass by themselves: connection lost, no resources left, the server stops or starts."""
_FAILURES: Final = (adbc_driver_manager.Error, pyarrow.ArrowException, OSError)


@dataclass(frozen=True, slots=True, repr=False)
class PostgresqlQuery:
    """What ``query`` gives at the server in ``place``, in the order of the identifying and then the other columns."""

    place: PostgresqlDescription
    folder: Path
    query: str
    clock: Callable[[], float] = time.monotonic

    def __repr__(self) -> str:
        return f"<PostgresqlQuery at {self.place.host}>"

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        yield from digested(self.arrow(schema), schema, take)

    def arrow(self, schema: Schema) -> Iterator[pyarrow.RecordBatch]:
        """What the database gives, of the columns ``schema.wanted``. Raises ``DatasetRefused``; ``SourceUnreachable``
        where the same may be given later."""
        try:
            # Not autocommit: the driver opens a transaction, which the session's settings make read-only.
            connection = dbapi.connect(self._conninfo())
        except _FAILURES as error:
            raise SourceUnreachable(self._unreached(error)) from None
        started = self.clock()
        try:
            with connection, connection.cursor() as cursor, closing(self._ordered(cursor, schema)) as batches:
                for batch in batches:
                    yield batch.select(list(schema.wanted))
        except _FAILURES as error:
            why = self._why(error, self.clock() - started)
            raise (SourceUnreachable(why) if _passes(error) else DatasetRefused(why)) from None

    def _ordered(self, cursor: dbapi.Cursor, schema: Schema) -> Generator[pyarrow.RecordBatch, None, None]:
        found = cursor.adbc_execute_schema(f"SELECT * FROM (\n{self.query}\n) AS declared LIMIT 0")  # noqa: S608
        check_header(found.names, schema.wanted)
        texts = tuple(column.name for column in found if _is_text(column.type))
        cursor.execute(ordered(self.query, schema, '"C"', texts))
        return read_ahead(iter(cursor.fetch_record_batch()))

    def _conninfo(self) -> str:
        """Where and how to connect, the password in it: held in memory only, and never shown."""
        place = self.place
        words = {
            "host": place.host,
            "port": str(place.port),
            "dbname": place.database,
            "user": place.user,
            "passfile": "/dev/null/none",  # What a home folder holds is not the owner's word.
            "sslmode": "disable" if place.host.startswith("/") else _TLS[place.tls],
            "connect_timeout": "30",
            "application_name": "consortia-silo",
            "options": f"-c default_transaction_read_only=on -c statement_timeout={place.timeout_s * 1000}",
        }
        if place.authority is not None:
            words["sslrootcert"] = str(self.folder / place.authority)
        if place.password_file is not None:
            words["password"] = _password(self.folder / place.password_file)
        return " ".join(f"{name}={_quoted(value)}" for name, value in words.items())

    def _why(self, error: Exception, elapsed_s: float) -> str:
        """The refusal for what the driver said, which may quote the query or a row and is not shown.

        Of a stream that broke off the driver gives no SQLSTATE, and its text is in the server's language.
        """
        code = getattr(error, "sqlstate", None)
        if code == "57014" or (code is None and elapsed_s >= self.place.timeout_s):
            return f"the query took longer than timeout_s, {self.place.timeout_s} s, and was stopped"
        if code in _SAID:
            return _SAID[code]
        if code is not None and code.startswith("42"):
            return f"the query is no single SELECT that the database understands (SQLSTATE {code})"
        return f"the database could not run the query to its end (SQLSTATE {code or 'not told'})"

    def _unreached(self, error: Exception) -> str:
        code = getattr(error, "sqlstate", None)
        where = f"the database at {self.place.host} port {self.place.port}"
        return f"{where} cannot be reached, or refused this user and password" + (f" (SQLSTATE {code})" if code else "")


def _passes(error: Exception) -> bool:
    return (getattr(error, "sqlstate", None) or "").startswith(_PASSING)


def _is_text(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _password(path: Path) -> str:
    try:
        return read_private(path).decode("utf-8").removesuffix("\n")
    except (ConfigRefused, OSError) as error:
        raise DatasetRefused(f"password_file: {error}") from None
    except UnicodeDecodeError:
        raise DatasetRefused("password_file: it is not text in UTF-8") from None


def _quoted(value: str) -> str:
    """A value in a libpq connection string (PostgreSQL manual, 34.1.1.1)."""
    escaped = value.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"
