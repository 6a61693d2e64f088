"""Privacy budgets as the log tells them: every silo's domains, recomputed from mechanism events.

The rules, each named in the reason when one is broken:

1. A domain's unit, epsilon, delta and order are set once, with its first dataset.
2. A reservation is for the very events that the contract plans for that silo and round, in the domain of the
   dataset that the contract reads, and for a unit that is at least the domain's.
3. A round is charged once a silo, however often it is attempted.
4. A settlement follows its reservation, in the same domain, and never goes upwards.
5. What is reserved and settled never exceeds the domain's budget at its registered order.
"""

from dataclasses import dataclass, field

from protocol import accounting
from protocol.declarations import Declarations
from protocol.errors import RuleBroken
from protocol.membership_statements import CapDeclared, DatasetRegistered, DomainDeclared
from protocol.registration import Registrations
from protocol.round_statements import SpendReserved, SpendSettled
from protocol.rounds import round_events
from protocol.spend import Cost, Event, Unit
from protocol.study import StudyContract


@dataclass(frozen=True, slots=True)
class Domain:
    """A silo's privacy domain: the cap that its owner set for good."""

    silo: str
    name: str
    unit: Unit
    epsilon: float
    delta: float
    order: int

    @property
    def cap(self) -> Cost:
        return accounting.budget(self.epsilon, self.delta, self.order)


@dataclass(slots=True)
class Charge:
    """What one round of one study takes from a domain, in units of 1e-12 at the domain's order.

    ``reserved_at`` is when the silo says that it did so.
    """

    domain: Domain
    study: str
    round: int
    events: tuple[Event, ...]
    cost: Cost
    reserved_at: str = ""
    settled: bool = False


@dataclass(slots=True)
class Spending:
    """All domains and charges of a log, by what was registered, declared, reserved and settled so far.

    ``charges`` are by silo and study, then by round; ``totals`` is what each domain has spent, kept up with them.
    """

    registrations: Registrations = field(default_factory=Registrations)
    declarations: Declarations = field(default_factory=Declarations)
    domains: dict[tuple[str, str], Domain] = field(default_factory=dict)
    charges: dict[tuple[str, str], dict[int, Charge]] = field(default_factory=dict)
    totals: dict[tuple[str, str], Cost] = field(default_factory=dict)
    events: dict[tuple[Event, ...], tuple[Event, ...]] = field(default_factory=dict)

    def register(self, body: DatasetRegistered) -> None:
        self.registrations.take(body)
        silo = body.issuer.partition(":")[2]
        domain = Domain(silo, body.domain, body.unit, body.epsilon, body.delta, body.order)
        held = self.domains.setdefault((silo, body.domain), domain)
        if held != domain:
            raise RuleBroken(f"budget rule 1: {silo} registers domain {body.domain} with another cap, unit or order")
        try:
            _ = domain.cap
        except ValueError as error:
            raise RuleBroken(f"budget rule 1: domain {body.domain} of {silo}: {error}") from None

    def declare(self, body: DomainDeclared | CapDeclared) -> None:
        self.declarations.take(body)

    def reserve(self, body: SpendReserved, contract: StudyContract) -> None:
        silo = body.issuer.partition(":")[2]
        charges = self.charges.setdefault((silo, body.study), {})
        domain = self._domain(silo, contract, body.domain)
        if domain.unit == "subject" and any(event.unit == "record" for event in body.events):
            raise RuleBroken(f"budget rule 2: {silo} charges a record where its domain protects subjects")
        planned = round_events(contract, silo, body.round)
        if body.events != planned:
            raise RuleBroken(f"budget rule 2: {silo} reserves other events for round {body.round} than planned")
        if body.round in charges:
            return  # Charged once, however often the round is tried; the events are the planned ones.
        cost = accounting.cost_of(body.events, domain.order)
        spent = self.spent(domain)
        if not accounting.admits(spent, cost, domain.cap):
            reached = accounting.epsilon_at(spent + cost, domain.delta, domain.order)
            raise RuleBroken(
                f"budget rule 5: round {body.round} takes domain {domain.name} of {silo} to epsilon {reached:.4g}, "
                f"the cap is {domain.epsilon:g} at delta {domain.delta:g}"
            )
        charges[body.round] = Charge(domain, body.study, body.round, self._one(planned), cost, body.issued_at)
        self._add(domain, cost)

    def settle(self, body: SpendSettled) -> None:
        silo = body.issuer.partition(":")[2]
        charge = self.charges.get((silo, body.study), {}).get(body.round)
        if charge is None or charge.domain.name != body.domain:
            raise RuleBroken(f"budget rule 4: {silo} settles round {body.round}, which it did not reserve so")
        cost = accounting.cost_of(body.events, charge.domain.order)
        if cost > charge.cost:
            raise RuleBroken(f"budget rule 4: {silo} settles round {body.round} for more than it reserved")
        if charge.settled and cost != charge.cost:
            raise RuleBroken(f"budget rule 4: {silo} settles round {body.round} a second time, at another cost")
        self._add(charge.domain, cost - charge.cost)
        charge.events, charge.cost, charge.settled = self._one(body.events), cost, True

    def charged(self, silo: str, study: str, index: int) -> bool:
        """Whether the silo reserved its spend for the round."""
        return index in self.charges.get((silo, study), {})

    def spent(self, domain: Domain) -> Cost:
        """What a domain has reserved and settled, over all studies."""
        return self.totals.get((domain.silo, domain.name), 0)

    def epsilon_spent(self, domain: Domain) -> float:
        """Epsilon at the domain's delta and order."""
        return accounting.epsilon_at(self.spent(domain), domain.delta, domain.order)

    def study_epsilon(self, silo: str, study: str, contract: StudyContract) -> float:
        """What a study really cost at a silo, at the contract's delta and order: comparable with its promise.

        The same charges weigh a little differently in the silo's own domain, at that domain's order.
        """
        privacy = contract.privacy
        charges = self.charges.get((silo, study), {}).values()
        cost = sum(accounting.cost_of(charge.events, privacy.order) for charge in charges)
        return accounting.epsilon_at(cost, privacy.delta, privacy.order)

    def domain_of(self, silo: str, dataset: str) -> Domain | None:
        """The domain that a silo's dataset draws on, if it was registered."""
        registered = self.registrations.newest.get((silo, dataset))
        return self.domains[silo, registered.domain] if registered else None

    def _one(self, events: tuple[Event, ...]) -> tuple[Event, ...]:
        """The same events, held once for all charges: a long log has few that differ."""
        return self.events.setdefault(events, events)

    def _add(self, domain: Domain, cost: Cost) -> None:
        self.totals[domain.silo, domain.name] = self.spent(domain) + cost

    def _domain(self, silo: str, contract: StudyContract, named: str) -> Domain:
        domain = self.domain_of(silo, contract.data.dataset)
        if domain is None or domain.name != named:
            raise RuleBroken(f"budget rule 2: {silo} charges domain {named}, which its dataset does not draw on")
        return domain
