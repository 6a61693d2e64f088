"""Rounds as rows with a version, a due time and a lease; chunks received and sums added."""

import json
from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, select, update

from hub.domain.round import OVER, Round
from hub.errors import Conflict
from hub.store.tables import chunks, rounds, studies, sums

_PROGRESS = ("silos", "opened_at", "base", "ready", "frozen", "freeze", "complete", "dropped", "survivors", "sum")
_PROGRESS_LATE = ("dealt", "signed", "revealed", "answers", "blames", "agreed", "closed_at")
_TUPLES = ("silos", "frozen", "complete", "dropped", "survivors", "signed", "revealed", "agreed")


_LATEST = select(rounds).where(rounds.c.study == bindparam("study")).order_by(rounds.c.round.desc()).limit(1)
_ONE = select(rounds).where(rounds.c.study == bindparam("study"), rounds.c.round == bindparam("index"))
_REPLACE = update(rounds).where(
    rounds.c.study == bindparam("its_study"),
    rounds.c.round == bindparam("its_round"),
    rounds.c.version == bindparam("its_version"),
)


def latest(connection: Connection, study: str) -> tuple[Round, int] | None:
    """The study's newest round and its row's version."""
    row = connection.execute(_LATEST, {"study": study}).first()
    return None if row is None else (_round(row), row.version)


def load(connection: Connection, study: str, index: int) -> Round | None:
    row = connection.execute(_ONE, {"study": study, "index": index}).first()
    return None if row is None else _round(row)


def save(connection: Connection, round: Round, version: int | None) -> None:
    """Insert the round (`version` None), or replace the row of that version; else raises `Conflict`."""
    values = {
        "attempt": round.attempt,
        "state": round.state,
        "due_at": round.due_at,
        "progress": json.dumps({name: _plain(getattr(round, name)) for name in _PROGRESS + _PROGRESS_LATE}),
    }
    if version is None:
        connection.execute(
            insert(rounds).values(study=round.study, round=round.index, version=1, lease_until=0, **values)
        )
        return
    place = {"its_study": round.study, "its_round": round.index, "its_version": version}
    changed = connection.execute(_REPLACE, {**place, **values, "version": version + 1, "lease_until": 0})
    if changed.rowcount != 1:
        raise Conflict("the round changed meanwhile; send it again")


def claim_due(connection: Connection, now: int, lease_until: int, limit: int = 32) -> list[str]:
    """Lease the rounds that are due, or frozen, and that nobody has a lease on; returns their studies.

    Two replicas never get the same row: PostgreSQL skips rows that are locked, SQLite has one writer.
    """
    unfinished = select(studies.c.study).where(studies.c.stage == "running")
    wanted = (
        select(rounds.c.study, rounds.c.round)
        .where(
            rounds.c.study.in_(unfinished),
            rounds.c.state.in_(("open", "frozen", "served")),
            (rounds.c.due_at <= now) | (rounds.c.state == "frozen"),
            rounds.c.lease_until <= now,
        )
        .order_by(rounds.c.due_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    found = [(row.study, row.round) for row in connection.execute(wanted)]
    for study, index in found:
        where = (rounds.c.study == study, rounds.c.round == index)
        connection.execute(update(rounds).where(*where).values(lease_until=lease_until))
    return [study for study, _ in found]


def due_exists(connection: Connection, now: int) -> bool:
    """Whether `claim_due` may find something: a cheap look before a writing transaction."""
    unfinished = select(studies.c.study).where(studies.c.stage == "running")
    where = (
        rounds.c.study.in_(unfinished),
        rounds.c.state.in_(("open", "frozen", "served")),
        (rounds.c.due_at <= now) | (rounds.c.state == "frozen"),
        rounds.c.lease_until <= now,
    )
    return connection.execute(select(rounds.c.study).where(*where).limit(1)).first() is not None


def release_lease(connection: Connection, study: str) -> None:
    connection.execute(update(rounds).where(rounds.c.study == study).values(lease_until=0))


def chunk(connection: Connection, round: Round, silo: str, position: int) -> str | None:
    """The digest of a received chunk."""
    where = (*_attempt(chunks, round), chunks.c.silo == silo, chunks.c.position == position)
    return connection.execute(select(chunks.c.digest).where(*where)).scalar()


def add_chunk(connection: Connection, round: Round, silo: str, position: int, digest: str, size: int, now: int) -> None:
    row = {"study": round.study, "round": round.index, "attempt": round.attempt, "silo": silo}
    connection.execute(insert(chunks).values(position=position, digest=digest, size=size, received_at=now, **row))


def chunks_of(connection: Connection, round: Round, silo: str) -> list[str]:
    """Digests of the chunks that a silo delivered, in order of their positions."""
    query = select(chunks.c.digest).where(*_attempt(chunks, round), chunks.c.silo == silo).order_by(chunks.c.position)
    return list(connection.execute(query).scalars())


def received(connection: Connection, round: Round, silo: str) -> dict[int, str]:
    """Position -> digest of the chunks that a silo delivered."""
    query = select(chunks.c.position, chunks.c.digest).where(*_attempt(chunks, round), chunks.c.silo == silo)
    return {row.position: row.digest for row in connection.execute(query)}


def counts(connection: Connection, round: Round) -> dict[str, int]:
    """Silo -> how many chunks it delivered; silos that delivered none are not in it."""
    query = select(chunks.c.silo, func.count().label("n")).where(*_attempt(chunks, round)).group_by(chunks.c.silo)
    return {row.silo: int(row.n) for row in connection.execute(query)}


def arrivals(connection: Connection, round: Round) -> dict[int, list[str]]:
    """Position -> the silos that delivered that chunk, in the order of arrival."""
    query = select(chunks.c.position, chunks.c.silo).where(*_attempt(chunks, round))
    found: dict[int, list[str]] = {}
    for row in connection.execute(query.order_by(chunks.c.received_at, chunks.c.silo)):
        found.setdefault(row.position, []).append(row.silo)
    return found


def sum_digests(connection: Connection, round: Round, survivors: str) -> dict[int, str]:
    """Position -> digest of the chunks added so far, of the sum over `survivors`."""
    where = (*_attempt(sums, round), sums.c.survivors == survivors)
    rows = connection.execute(select(sums.c.position, sums.c.digest).where(*where))
    return {row.position: row.digest for row in rows}


def add_sum(connection: Connection, round: Round, survivors: str, position: int, digest: str, size: int) -> None:
    row = {"study": round.study, "round": round.index, "attempt": round.attempt, "survivors": survivors}
    connection.execute(insert(sums).values(position=position, digest=digest, size=size, **row))


def volume(connection: Connection, round: Round, survivors: str) -> tuple[int, int]:
    """Bytes received from all silos in this round's attempts, and bytes of the sum that one silo downloads."""
    up = select(func.coalesce(func.sum(chunks.c.size), 0))
    up = up.where(chunks.c.study == round.study, chunks.c.round == round.index)
    down = select(func.coalesce(func.sum(sums.c.size), 0)).where(*_attempt(sums, round), sums.c.survivors == survivors)
    return int(connection.execute(up).scalar_one()), int(connection.execute(down).scalar_one())


def count_over(connection: Connection, study: str) -> int:
    """How many rounds have ended, void ones too."""
    where = (rounds.c.study == study, rounds.c.state.in_(OVER))
    return int(connection.execute(select(func.count()).select_from(rounds).where(*where)).scalar_one())


def states(connection: Connection) -> dict[str, int]:
    """How many rounds are in each state."""
    rows = connection.execute(select(rounds.c.state, func.count().label("n")).group_by(rounds.c.state))
    return {row.state: int(row.n) for row in rows}


def _attempt(table: Any, round: Round) -> tuple[Any, ...]:
    return (table.c.study == round.study, table.c.round == round.index, table.c.attempt == round.attempt)


def _plain(value: Any) -> Any:
    return dict(value) if hasattr(value, "items") else value


def _round(row: Any) -> Round:
    progress = json.loads(row.progress)
    for name in _TUPLES:
        progress[name] = tuple(progress[name])
    progress["blames"] = {silo: tuple(names) for silo, names in progress["blames"].items()}
    return Round(study=row.study, index=row.round, attempt=row.attempt, state=row.state, due_at=row.due_at, **progress)
