"""A query to PostgreSQL over ADBC: one statement, in a read-only transaction, within its time, streamed by COPY."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import adbc_driver_manager
import polars as pl
import pyarrow
from adbc_driver_postgresql import dbapi

from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.celldigest import CellDigest
from silo_node.dataset.sources.description import PostgresqlDescription
from silo_node.dataset.sources.parquet_file import frame_of
from silo_node.dataset.sources.source import Take, check_header
from silo_node.dataset.sources.sqlite import ordered
from silo_node.errors import ConfigRefused, DatasetRefused
from silo_node.private_files import read_private

_TLS: Final = {"verify-full": "verify-full", "require": "require", "none": "disable"}
_SAID: Final = {
    "25006": "the query writes; only a query that reads is run",
    "42501": "the user may not read what the query asks for",
    "28P01": "the database refused the password",
    "28000": "the database refused the user",
    "3D000": "the database does not exist",
}


@dataclass(frozen=True, slots=True, repr=False)
class PostgresqlQuery:
    """What ``query`` gives at the server in ``place``, in the order of the identifying and then the other columns."""

    place: PostgresqlDescription
    folder: Path
    query: str
    _errors: tuple[type[Exception], ...] = field(default=(adbc_driver_manager.Error, pyarrow.ArrowException))

    def __repr__(self) -> str:
        return f"<PostgresqlQuery at {self.place.host}>"

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        wanted, conninfo = schema.wanted, self._conninfo()
        digest = CellDigest(wanted, as_text=schema.identifying)
        try:
            # Not autocommit: the driver opens a transaction, which the session's settings make read-only.
            with dbapi.connect(conninfo) as connection, connection.cursor() as cursor:
                found = cursor.adbc_execute_schema(f"SELECT * FROM (\n{self.query}\n) AS declared LIMIT 0")  # noqa: S608
                check_header(found.names, wanted)
                texts = tuple(column.name for column in found if _is_text(column.type))
                cursor.execute(ordered(self.query, schema, '"C"', texts))
                for batch in cursor.fetch_record_batch():
                    frame = frame_of(batch).select(wanted)
                    digest.take(frame)
                    yield frame
        except self._errors as error:
            raise DatasetRefused(self._why(error)) from None
        take(digest.digest())

    def _conninfo(self) -> str:
        """Where and how to connect, the password in it: held in memory only, and never shown."""
        place = self.place
        words = {
            "host": place.host,
            "port": str(place.port),
            "dbname": place.database,
            "user": place.user,
            "passfile": "/dev/null",  # What a home folder holds is not the owner's word.
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

    def _why(self, error: Exception) -> str:
        """The refusal for what the driver said, which may quote the query, a row or an address and is not shown."""
        code = getattr(error, "sqlstate", None) or _code_in(str(error))
        if code == "57014":
            return f"the query took longer than timeout_s, {self.place.timeout_s} s, and was stopped"
        if code in _SAID:
            return _SAID[code]
        if code is not None and code.startswith("42"):
            return f"the query is no single SELECT that the database understands (SQLSTATE {code})"
        if code is not None:
            return f"the database could not run the query (SQLSTATE {code})"
        return f"the database at {self.place.host} port {self.place.port} cannot be reached or refused to be read"


def _is_text(kind: pyarrow.DataType) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _code_in(message: str) -> str | None:
    """The SQLSTATE that a broken-off stream tells at its end only."""
    _, found, code = message.rpartition("SQLSTATE: ")
    return code[:5] if found and code[:5].isalnum() and len(code) >= 5 else None


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
