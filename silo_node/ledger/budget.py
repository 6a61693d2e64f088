"""What a ledger speaks of: domains, balances, and decisions as values that name their rule. No I/O.

Numbers called picos are Renyi divergence at the domain's order in whole units of 1e-12.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from protocol.accounting import best_order, budget, epsilon_at
from protocol.ids import NAME
from protocol.spend import Cost, Event, Unit, parse_events


class Rule(Enum):
    """What a refusal rests on."""

    DOMAIN_UNKNOWN = "domain-unknown"
    DOMAIN_FIXED = "domain-fixed"
    OTHER_PERSONS = "other-persons"
    CHARGE_NAME = "charge-name"
    CHARGE_UNKNOWN = "charge-unknown"
    CHARGE_FIXED = "charge-fixed"
    CHARGE_SETTLED = "charge-settled"
    EVENTS_LISTED = "events-listed"
    UNIT_STRONG_ENOUGH = "unit-strong-enough"
    WITHIN_BUDGET = "within-budget"
    WITHIN_CAP = "within-cap"
    CAP_BOUNDS = "cap-bounds"
    CHAIN_KNOWN = "chain-known"
    NEVER_UPWARD = "never-upward"


@dataclass(frozen=True, slots=True)
class PrivacyDomain:
    """The persons concerned and the cap their data owner set, for good.

    Raises ValueError for a name, unit, epsilon, delta or order out of bounds, or a cap that pays for nothing.
    """

    name: str
    unit: Unit
    epsilon: float
    delta: float
    order: int

    def __post_init__(self) -> None:
        if not re.fullmatch(NAME, self.name):
            raise ValueError(f"domain name is {self.name!r}; it must be 2 to 32 lower-case letters, digits or dashes")
        if self.unit not in ("record", "subject"):
            raise ValueError(f"domain unit is {self.unit!r}; it must be record or subject")
        budget(self.epsilon, self.delta, self.order)

    @classmethod
    def at_best_order(cls, name: str, unit: Unit, epsilon: float, delta: float) -> "PrivacyDomain":
        """The domain at the order that pays for the most noise; see `protocol.accounting.best_order`."""
        return cls(name, unit, epsilon, delta, best_order(epsilon, delta))

    @property
    def cap_picos(self) -> Cost:
        return budget(self.epsilon, self.delta, self.order)

    def covers(self, events: Iterable[Event]) -> bool:
        """Whether no event hides a weaker unit than the domain's: a record where a subject was promised."""
        return self.unit == "record" or all(event.unit == "subject" for event in events)


@dataclass(frozen=True, slots=True)
class OtherPersons:
    """The owner's word that a new domain is of other persons than those ``beside`` it, and why."""

    beside: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Balance:
    """Where a domain stands. A reservation counts in full until it is settled."""

    domain: PrivacyDomain
    reserved_picos: Cost
    settled_picos: Cost

    @property
    def spent_picos(self) -> Cost:
        return self.reserved_picos + self.settled_picos

    @property
    def remaining_picos(self) -> Cost:
        return max(0, self.domain.cap_picos - self.spent_picos)

    @property
    def epsilon_spent(self) -> float:
        """The epsilon that all charges amount to at the domain's delta and order; 0 before the first."""
        return epsilon_at(self.spent_picos, self.domain.delta, self.domain.order)


@dataclass(frozen=True, slots=True)
class Head:
    """The end of a ledger: how many entries, and the digest (64 hexadecimal characters) of the last."""

    length: int
    digest: str


@dataclass(frozen=True, slots=True)
class Registered:
    """The domain stands in the ledger; `head` is the entry that put it there."""

    domain: PrivacyDomain
    head: Head


@dataclass(frozen=True, slots=True)
class Admitted:
    """The charge is reserved, durably; `head` is the entry that did so."""

    domain: str
    charge_id: str
    events: tuple[Event, ...]
    cost_picos: Cost
    head: Head


@dataclass(frozen=True, slots=True)
class Settled:
    """The charge is final; what the reservation had beyond `cost_picos` is free again."""

    domain: str
    charge_id: str
    events: tuple[Event, ...]
    cost_picos: Cost
    head: Head


@dataclass(frozen=True, slots=True)
class Recovered:
    """Heads of a lost chain that this one took over from; `head` is the entry that says so."""

    heads: tuple[str, ...]
    head: Head


@dataclass(frozen=True, slots=True)
class Refused:
    """No, by which rule: the value that was found, the bound it broke, and what would help."""

    rule: Rule
    value: str
    bound: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.rule.value}: {self.value}; {self.bound}; {self.remedy}"


def listed(events: Iterable[Event]) -> tuple[Event, ...] | Refused:
    """The events, each checked against the whitelist and its bounds again."""
    try:
        return parse_events(tuple(events))
    except ValueError as problem:
        return Refused(Rule.EVENTS_LISTED, str(problem), "only whitelisted mechanisms count", "state it as one")
