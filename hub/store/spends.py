"""The mirror of the silos' ledgers, from what they stated; costs in units of 1e-12 at the domain's order."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, insert, select, update

from hub.store.tables import domains, spends


@dataclass(frozen=True, slots=True)
class Domain:
    """A privacy domain as its silo registered it."""

    silo: str
    domain: str
    unit: str
    epsilon: float
    delta: float
    order: int


@dataclass(frozen=True, slots=True)
class Totals:
    """Of one domain: reserved and not yet settled, and settled."""

    reserved: int
    settled: int


@dataclass(frozen=True, slots=True)
class Spend:
    """One round's charge at one silo."""

    domain: str
    reserved: int
    settled: int | None


def domain(connection: Connection, silo: str, name: str) -> Domain | None:
    row = connection.execute(select(domains).where(domains.c.silo == silo, domains.c.domain == name)).first()
    return None if row is None else Domain(silo, name, row.unit, float(row.epsilon), float(row.delta), row.renyi_order)


def add_domain(connection: Connection, new: Domain) -> None:
    # repr keeps every digit of a float on both databases.
    values = {"unit": new.unit, "epsilon": repr(new.epsilon), "delta": repr(new.delta), "renyi_order": new.order}
    connection.execute(insert(domains).values(silo=new.silo, domain=new.domain, **values))


def all_domains(connection: Connection, silo: str | None) -> list[Domain]:
    query = select(domains).order_by(domains.c.silo, domains.c.domain)
    if silo is not None:
        query = query.where(domains.c.silo == silo)
    return [
        Domain(row.silo, row.domain, row.unit, float(row.epsilon), float(row.delta), row.renyi_order)
        for row in connection.execute(query)
    ]


def totals(connection: Connection, silo: str, name: str) -> Totals:
    """What a domain has reserved and settled, over all studies."""
    where = (spends.c.silo == silo, spends.c.domain == name)
    open_sum = select(func.coalesce(func.sum(spends.c.reserved), 0)).where(*where, spends.c.settled.is_(None))
    done_sum = select(func.coalesce(func.sum(spends.c.settled), 0)).where(*where)
    return Totals(int(connection.execute(open_sum).scalar_one()), int(connection.execute(done_sum).scalar_one()))


def spend(connection: Connection, silo: str, study: str, round: int) -> Spend | None:
    where = (spends.c.silo == silo, spends.c.study == study, spends.c.round == round)
    row = connection.execute(select(spends).where(*where)).first()
    return None if row is None else Spend(row.domain, row.reserved, row.settled)


def reserve(connection: Connection, silo: str, study: str, round: int, name: str, cost: int) -> None:
    values = {"silo": silo, "study": study, "round": round, "domain": name, "reserved": cost, "settled": None}
    connection.execute(insert(spends).values(**values))


def settle(connection: Connection, silo: str, study: str, round: int, cost: int) -> None:
    where = (spends.c.silo == silo, spends.c.study == study, spends.c.round == round)
    connection.execute(update(spends).where(*where).values(settled=cost))
