"""The mirror of the silos' budgets: what they stated they reserved and settled, and whether a round is payable."""

from dataclasses import dataclass

from sqlalchemy import Connection

from hub.errors import BudgetExceeded, Conflict
from hub.ledger.decision import Allowed, Denied, MirroredBalance, can_open
from hub.services.recorder import Recording
from hub.store import silos as silo_store
from hub.store import spends
from hub.store.database import Database
from hub.store.spends import Domain
from protocol import accounting
from protocol.membership_statements import DatasetRegistered
from protocol.round_statements import SpendReserved, SpendSettled
from protocol.rounds import round_events
from protocol.routes import BudgetStatus
from protocol.spend import Event
from protocol.study import StudyContract


@dataclass(frozen=True, slots=True)
class Budgets:
    database: Database

    def register(self, recording: Recording, body: DatasetRegistered, digest: str) -> None:
        """Mirror a dataset and its domain, whose parameters stay as they were first stated."""
        silo = body.issuer.removeprefix("silo:")
        new = Domain(silo, body.domain, body.unit, body.epsilon, body.delta, body.order)
        known = spends.domain(recording.connection, silo, body.domain)
        if known is not None and known != new:
            raise Conflict(
                f"domain {body.domain}: unit, epsilon, delta and order stay as registered; name another domain"
            )
        if known is None:
            _cap(new)
            spends.add_domain(recording.connection, new)
        silo_store.put_dataset(recording.connection, silo, body.dataset, body.domain, digest)

    def can_pay(self, connection: Connection, study: str, contract: StudyContract, silo: str, index: int) -> bool:
        """Whether the silo's mirrored budget pays for a round; one that is reserved already is paid."""
        if spends.spend(connection, silo, study, index) is not None:
            return True
        registered = silo_store.dataset(connection, silo, contract.data.dataset)
        if registered is None:
            return False
        decision = _decide(connection, silo, registered[0], round_events(contract, silo, index))
        return isinstance(decision, Allowed)

    def reserve(self, recording: Recording, body: SpendReserved, contract: StudyContract) -> None:
        """Mirror a reservation. Raises `Conflict` for events that are not the round's, `BudgetExceeded`."""
        silo = body.issuer.removeprefix("silo:")
        connection = recording.connection
        registered = silo_store.dataset(connection, silo, contract.data.dataset)
        if registered is None or registered[0] != body.domain:
            raise Conflict(f"spend-reserved: domain {body.domain} is not that of dataset {contract.data.dataset}")
        if body.events != round_events(contract, silo, body.round):
            raise Conflict(f"spend-reserved: events are not those that round {body.round} costs by the contract")
        if spends.spend(connection, silo, body.study, body.round) is not None:
            return  # Charged once, however often the round is tried.
        decision = _decide(connection, silo, body.domain, body.events)
        if isinstance(decision, Denied):
            raise BudgetExceeded(decision.reason)
        cost = accounting.cost_of(body.events, _domain(connection, silo, body.domain).order)
        spends.reserve(connection, silo, body.study, body.round, body.domain, cost)

    def settle(self, recording: Recording, body: SpendSettled) -> None:
        """Mirror what a round cost in the end, at most what was reserved."""
        silo = body.issuer.removeprefix("silo:")
        spend = spends.spend(recording.connection, silo, body.study, body.round)
        if spend is None or spend.domain != body.domain:
            raise Conflict(f"spend-settled: nothing is reserved for round {body.round} in domain {body.domain}")
        cost = accounting.cost_of(body.events, _domain(recording.connection, silo, body.domain).order)
        if cost > spend.reserved:
            raise BudgetExceeded(f"spend-settled: {cost} is more than the {spend.reserved} that were reserved (1e-12)")
        if spend.settled is not None and spend.settled != cost:
            raise Conflict(f"spend-settled: round {body.round} was settled with another cost")
        spends.settle(recording.connection, silo, body.study, body.round, cost)

    def require_reserved(self, recording: Recording, silo: str, study: str, index: int) -> None:
        """Raises `Conflict` unless the silo charged the round before it says that it is ready."""
        if spends.spend(recording.connection, silo, study, index) is None:
            raise Conflict(f"round-ready: round {index} isn't charged; send spend-reserved first")

    def status(self, silo: str | None) -> list[BudgetStatus]:
        """All domains, or those of one silo."""
        with self.database.reading() as connection:
            return [_status(connection, domain) for domain in spends.all_domains(connection, silo)]


def _decide(connection: Connection, silo: str, name: str, events: tuple[Event, ...]) -> Allowed | Denied:
    domain = _domain(connection, silo, name)
    totals = spends.totals(connection, silo, name)
    mirror = MirroredBalance(silo, name, _cap(domain), totals.reserved + totals.settled)
    return can_open(mirror, accounting.cost_of(events, domain.order))


def _domain(connection: Connection, silo: str, name: str) -> Domain:
    domain = spends.domain(connection, silo, name)
    if domain is None:
        raise Conflict(f"domain {name} of silo {silo} isn't registered")
    return domain


def _cap(domain: Domain) -> int:
    try:
        return accounting.budget(domain.epsilon, domain.delta, domain.order)
    except ValueError as error:
        raise Conflict(f"domain {domain.domain}: {error}") from None


def _status(connection: Connection, domain: Domain) -> BudgetStatus:
    totals = spends.totals(connection, domain.silo, domain.domain)
    spent = totals.reserved + totals.settled
    return BudgetStatus(
        silo=domain.silo,
        domain=domain.domain,
        unit="subject" if domain.unit == "subject" else "record",
        epsilon_cap=domain.epsilon,
        delta=domain.delta,
        order=domain.order,
        cap=_cap(domain),
        reserved=totals.reserved,
        settled=totals.settled,
        epsilon_spent=accounting.epsilon_at(spent, domain.delta, domain.order),
    )
