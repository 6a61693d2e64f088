"""Many rows of one table at once, in the open transaction: several times as fast as through SQLAlchemy's own."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import psycopg
from sqlalchemy import Connection, Table
from sqlalchemy.exc import IntegrityError

COPY_FROM_ROWS = 256
"""PostgreSQL: from so many rows on COPY is worth its beginning."""


def insert_rows(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert `rows`, each with a value for every column in the table's order; all, or `IntegrityError`."""
    if connection.dialect.name == "postgresql" and len(rows) >= COPY_FROM_ROWS:
        _copy(connection, table, rows)
    elif rows:
        connection.exec_driver_sql(_statement(table, connection.dialect.name), list(rows))


@lru_cache(maxsize=16)
def _statement(table: Table, dialect: str) -> str:
    mark = "?" if dialect == "sqlite" else "%s"
    return f"INSERT INTO {table.name} ({_columns(table)}) VALUES ({', '.join([mark] * len(table.columns))})"  # noqa: S608  # names of ours


def _copy(connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]]) -> None:
    driver: psycopg.Connection = connection.connection.driver_connection  # type: ignore[assignment]
    statement = f"COPY {table.name} ({_columns(table)}) FROM STDIN"
    try:
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            for row in rows:
                copy.write_row(row)
    except psycopg.IntegrityError as error:
        raise IntegrityError(statement, None, error) from None


def _columns(table: Table) -> str:
    return ", ".join(column.name for column in table.columns)
