"""Sealed releases that were uploaded, and to whom."""

from dataclasses import dataclass

from sqlalchemy import Connection, insert, select

from hub.store.tables import bundles


@dataclass(frozen=True, slots=True)
class Bundle:
    study: str
    digest: str
    size: int
    silo: str


def find(connection: Connection, study: str, digest: str) -> Bundle | None:
    where = (bundles.c.study == study, bundles.c.digest == digest)
    row = connection.execute(select(bundles).where(*where)).first()
    return None if row is None else Bundle(row.study, row.digest, row.size, row.silo)


def add(connection: Connection, new: Bundle) -> None:
    connection.execute(insert(bundles).values(study=new.study, digest=new.digest, size=new.size, silo=new.silo))
