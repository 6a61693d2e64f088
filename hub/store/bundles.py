"""Sealed releases that were uploaded, and to whom."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, delete, func, insert, select

from hub.store.tables import bundles


@dataclass(frozen=True, slots=True)
class Bundle:
    """``put_at``: when it came, in seconds of Unix time."""

    study: str
    digest: str
    size: int
    silo: str
    put_at: int


def find(connection: Connection, study: str, digest: str) -> Bundle | None:
    where = (bundles.c.study == study, bundles.c.digest == digest)
    row = connection.execute(select(bundles).where(*where)).first()
    return None if row is None else _bundle(row)


def add(connection: Connection, new: Bundle) -> None:
    values = {"study": new.study, "digest": new.digest, "size": new.size, "silo": new.silo, "put_at": new.put_at}
    connection.execute(insert(bundles).values(values))


def studies_before(connection: Connection, before: int) -> list[str]:
    """The studies whose newest bundle was put before then."""
    newest = func.max(bundles.c.put_at)
    return list(connection.execute(select(bundles.c.study).group_by(bundles.c.study).having(newest < before)).scalars())


def forget_study(connection: Connection, study: str) -> None:
    connection.execute(delete(bundles).where(bundles.c.study == study))


def _bundle(row: Row[Any]) -> Bundle:
    return Bundle(row.study, row.digest, row.size, row.silo, row.put_at)
