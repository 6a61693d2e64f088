"""A query to an SQLite file: opened for reading only, and allowed to do nothing but select."""

import re
import sqlite3
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import polars as pl

from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.celldigest import CellDigest
from silo_node.dataset.sources.source import Take, batch_rows, check_header
from silo_node.errors import DatasetRefused

_ALLOWED: Final = {sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_FUNCTION, sqlite3.SQLITE_RECURSIVE}
_STEPS: Final = 10_000


@dataclass(frozen=True, slots=True)
class SqliteQuery:
    """What ``query`` gives in ``database``, in the order of the identifying and then of the other columns."""

    database: Path
    query: str
    timeout_s: float
    clock: Callable[[], float] = time.monotonic

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        if not self.database.is_file():
            raise DatasetRefused(f"database {self.database} is not a file")
        digest, rows = CellDigest(schema.wanted, as_text=schema.wanted), batch_rows(schema)
        deadline = self.clock() + self.timeout_s
        try:
            connection = sqlite3.connect(f"{self.database.absolute().as_uri()}?mode=ro", uri=True, timeout=30)
            try:
                connection.execute("PRAGMA query_only = ON")
                connection.execute("PRAGMA trusted_schema = OFF")
                connection.set_authorizer(_authorise)
                connection.set_progress_handler(lambda: int(self.clock() > deadline), _STEPS)
                check_header(self._columns(connection), schema.wanted)
                cursor = connection.execute(ordered(self.query, schema))
                while cells := cursor.fetchmany(rows):
                    frame = _frame(cells, schema.wanted)
                    digest.take(frame)
                    yield frame
            finally:
                connection.close()
        except (sqlite3.Error, sqlite3.Warning) as error:
            raise DatasetRefused(self._why(error)) from None
        take(digest.digest())

    def _columns(self, connection: sqlite3.Connection) -> list[str]:
        found = connection.execute(f"SELECT * FROM (\n{self.query}\n) LIMIT 0")  # noqa: S608  # the owner's query
        # SQLite tells apart columns of one name by a number: age, age:1.
        return [re.sub(r":[0-9]+$", "", column[0]) for column in found.description]

    def _why(self, error: Exception) -> str:
        """The refusal for what SQLite said, which may quote the query and is not shown."""
        name = _name(error)
        if name == "SQLITE_INTERRUPT":
            return f"the query took longer than timeout_s, {self.timeout_s:g} s, and was stopped"
        if name in ("SQLITE_AUTH", "SQLITE_READONLY"):
            return "the query does more than select; only a query that reads is run"
        if isinstance(error, sqlite3.OperationalError | sqlite3.ProgrammingError | sqlite3.Warning):
            return f"the query is no single SELECT that SQLite understands here ({name})"
        return f"SQLite could not run the query ({name})"


def ordered(query: str, schema: Schema, collation: str = "", texts: tuple[str, ...] = ()) -> str:
    """``query`` with its declared columns alone, in an order that does not hang on how the database keeps rows.

    Rows that are equal in all columns may change places, and are the same rows. Where texts among ``texts`` have a
    ``collation``, it must be one that no upgrade changes.
    """
    keys = [*schema.identifying, *(column.name for column in schema.columns)]
    order = ", ".join(f'"{name}"' + (f" COLLATE {collation}" if name in texts else "") for name in keys)
    names = ", ".join(f'"{name}"' for name in schema.wanted)
    # Column names are ColumnName: letters, digits and _. The line break ends a comment at the query's end.
    return f"SELECT {names} FROM (\n{query}\n) AS declared ORDER BY {order}"  # noqa: S608


def _authorise(action: int, *_: str | None) -> int:
    return sqlite3.SQLITE_OK if action in _ALLOWED else sqlite3.SQLITE_DENY


def _frame(rows: list[tuple[Any, ...]], wanted: tuple[str, ...]) -> pl.DataFrame:
    """Cells as texts, since a column of SQLite may hold any type in any row; checked as a CSV's are."""
    columns = zip(*rows, strict=True)
    return pl.DataFrame(
        [
            pl.Series(name, [_text(cell, name) for cell in cells], pl.String)
            for name, cells in zip(wanted, columns, strict=True)
        ]
    )


def _text(cell: object, name: str) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell
    if isinstance(cell, bytes):
        raise DatasetRefused(f"column {name} holds raw bytes, which are neither numbers nor texts")
    return repr(cell)


def _name(error: Exception) -> str:
    return str(getattr(error, "sqlite_errorname", type(error).__name__))
