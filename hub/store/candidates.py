"""Checkpoints put before the witnesses: the note with the cosignatures gathered so far, and its timestamp."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update

from hub.store.tables import log_candidates


@dataclass(frozen=True, slots=True)
class Candidate:
    """`charter` is the digest that the checkpoint names; times are Unix seconds, `quorate_at` None before its quorum.

    `token` is an RFC 3161 TimeStampToken (DER) over the note's text.
    """

    number: int
    note: str
    charter: str | None
    taken_at: int
    quorate_at: int | None
    token: bytes | None


_rows = log_candidates.c
_NEWEST = select(log_candidates).order_by(_rows.number.desc()).limit(1)
_LOCKED = _NEWEST.with_for_update()
_STATE = select(_rows.number, _rows.quorate_at).order_by(_rows.number.desc()).limit(1)
_QUORATE = _NEWEST.where(_rows.quorate_at.is_not(None))
_STAMPED = _NEWEST.where(_rows.token.is_not(None))


def newest(connection: Connection) -> Candidate | None:
    return _one(connection, _NEWEST)


def lock_newest(connection: Connection) -> Candidate | None:
    """The newest candidate, and the sole right to change it until the transaction ends."""
    return _one(connection, _LOCKED)


def newest_quorate(connection: Connection) -> Candidate | None:
    return _one(connection, _QUORATE)


def newest_stamped(connection: Connection) -> Candidate | None:
    return _one(connection, _STAMPED)


def all_stamped(connection: Connection) -> Iterator[Candidate]:
    """Every candidate with a timestamp, oldest first: for the export."""
    query = select(log_candidates).where(_rows.token.is_not(None)).order_by(_rows.number)
    return map(_candidate, connection.execute(query))


def state(connection: Connection) -> tuple[int, bool]:
    """The newest candidate's number and whether it is quorate: what waiting parties are woken for."""
    row = connection.execute(_STATE).first()
    return (0, False) if row is None else (row.number, row.quorate_at is not None)


def add(connection: Connection, note: str, charter: str | None, now: int) -> None:
    """A new candidate. What no longer serves goes: candidates before the newest quorate one, without a timestamp."""
    last = select(func.max(_rows.number)).where(_rows.quorate_at.is_not(None)).scalar_subquery()
    connection.execute(delete(log_candidates).where(_rows.number < last, _rows.token.is_(None)))
    connection.execute(insert(log_candidates).values(note=note, charter=charter, taken_at=now))


def write_note(connection: Connection, number: int, note: str, quorate_at: int | None) -> None:
    query = update(log_candidates).where(_rows.number == number)
    connection.execute(query.values(note=note, quorate_at=quorate_at))


def write_token(connection: Connection, number: int, token: bytes) -> None:
    """Keep a timestamp, unless there is one."""
    query = update(log_candidates).where(_rows.number == number, _rows.token.is_(None))
    connection.execute(query.values(token=token))


def _one(connection: Connection, query: Select[Any]) -> Candidate | None:
    row = connection.execute(query).first()
    return None if row is None else _candidate(row)


def _candidate(row: Row[Any]) -> Candidate:
    token = None if row.token is None else bytes(row.token)
    return Candidate(row.number, row.note, row.charter, row.taken_at, row.quorate_at, token)
