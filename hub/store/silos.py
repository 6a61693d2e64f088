"""Charters, invitations, enrolments, datasets and who was seen when."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select, update

from hub.domain.silo import Invitation
from hub.store.tables import charters, datasets, enrolments, invitations, sightings

_VERSION = select(charters.c.version).order_by(charters.c.version.desc()).limit(1)
_DIGEST = select(charters.c.digest).order_by(charters.c.version.desc()).limit(1)


@dataclass(frozen=True, slots=True)
class Enrolled:
    """A silo that asked to be a member, and the digest of its statement."""

    silo: str
    statement: str
    received_at: int


def charter_version(connection: Connection) -> int:
    """The version of the charter in force; 0 before there is one."""
    return connection.execute(_VERSION).scalar() or 0


def charter_digest(connection: Connection) -> str | None:
    """The digest of the charter in force."""
    return connection.execute(_DIGEST).scalar()


def charter_statements(connection: Connection) -> list[tuple[str, str]]:
    """(charter digest, statement digest) of every version, oldest first."""
    query = select(charters.c.digest, charters.c.statement).order_by(charters.c.version)
    return [(row.digest, row.statement) for row in connection.execute(query)]


def add_charter(connection: Connection, version: int, digest: str, statement: str) -> None:
    connection.execute(insert(charters).values(version=version, digest=digest, statement=statement))


def add_invitation(connection: Connection, invitation: Invitation) -> None:
    connection.execute(
        insert(invitations).values(
            statement=invitation.statement,
            silo=invitation.silo,
            code=invitation.code,
            expires_at=invitation.expires_at,
            used_by=invitation.used_by,
        )
    )


def all_invitations(connection: Connection) -> list[Invitation]:
    rows = connection.execute(select(invitations))
    return [Invitation(row.statement, row.silo, row.code, row.expires_at, row.used_by) for row in rows]


def use_invitation(connection: Connection, invitation: str, enrolment: str) -> bool:
    """Mark it used; False when somebody was faster."""
    where = (invitations.c.statement == invitation, invitations.c.used_by.is_(None))
    return connection.execute(update(invitations).where(*where).values(used_by=enrolment)).rowcount == 1


def enrolled(connection: Connection) -> list[Enrolled]:
    rows = connection.execute(select(enrolments).order_by(enrolments.c.received_at))
    return [Enrolled(row.silo, row.statement, row.received_at) for row in rows]


def add_enrolment(connection: Connection, enrolment: Enrolled) -> None:
    """Insert it, in place of an earlier one of a silo that isn't a member yet."""
    connection.execute(delete(enrolments).where(enrolments.c.silo == enrolment.silo))
    values = {"silo": enrolment.silo, "statement": enrolment.statement, "received_at": enrolment.received_at}
    connection.execute(insert(enrolments).values(**values))


def forget_enrolment(connection: Connection, silo: str) -> None:
    """A silo that is no member any more has to ask anew."""
    connection.execute(delete(enrolments).where(enrolments.c.silo == silo))


def put_dataset(connection: Connection, silo: str, dataset: str, domain: str, statement: str) -> None:
    """Register a dataset, in place of what the silo said of it before."""
    connection.execute(delete(datasets).where(datasets.c.silo == silo, datasets.c.dataset == dataset))
    connection.execute(insert(datasets).values(silo=silo, dataset=dataset, domain=domain, statement=statement))


def dataset(connection: Connection, silo: str, name: str) -> tuple[str, str] | None:
    """(domain, statement digest) of a silo's dataset."""
    where = (datasets.c.silo == silo, datasets.c.dataset == name)
    row = connection.execute(select(datasets.c.domain, datasets.c.statement).where(*where)).first()
    return None if row is None else (row.domain, row.statement)


def dataset_names(connection: Connection) -> dict[str, list[str]]:
    """Silo -> names of its datasets."""
    found: dict[str, list[str]] = {}
    for row in connection.execute(select(datasets.c.silo, datasets.c.dataset).order_by(datasets.c.dataset)):
        found.setdefault(row.silo, []).append(row.dataset)
    return found


def see(connection: Connection, party: str, now: int) -> None:
    """Note that a party called."""
    changed = connection.execute(update(sightings).where(sightings.c.party == party).values(seen_at=now))
    if changed.rowcount == 0:
        connection.execute(insert(sightings).values(party=party, seen_at=now))


def seen(connection: Connection) -> dict[str, int]:
    return {row.party: row.seen_at for row in connection.execute(select(sightings))}
