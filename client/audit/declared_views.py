"""What owners declared of their budgets, beside what their silos charged: caps, domains of other persons, and where
the log contradicts itself.

A log that breaks a rule of ``protocol.spending`` is not verified at all, and no report is made of it. What stands here
breaks none: a silo's own word against its own charges.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from client.audit.replay import Audited
from protocol import accounting
from protocol.declarations import EACH
from protocol.membership_statements import CapDeclared
from protocol.spending import Charge, Domain, Spending

Charged = dict[tuple[str, str, str], dict[str, list[Charge]]]
"""All charges by silo, domain and scope, then by the name that they were for."""


@dataclass(frozen=True, slots=True)
class CapRow:
    """A cap in force: the most that any one name was charged under it, in shares of the domain's budget."""

    silo: str
    domain: str
    on: str
    at: str
    share: float
    epsilon: float
    charged: float


@dataclass(frozen=True, slots=True)
class DomainRow:
    """A domain beside an earlier one of the same silo. ``reason`` is its owner's, empty where none was given."""

    silo: str
    domain: str
    beside: str
    at: str
    reason: str


def cap_rows(audited: Audited, silo: str | None = None) -> tuple[CapRow, ...]:
    """Every cap in force, by silo, domain, scope and name."""
    spending = audited.spending
    caps = [cap for _, cap in sorted(spending.declarations.caps.items(), key=lambda pair: pair[0])]
    charged = _charged(audited) if caps else {}
    return tuple(
        _row(spending, charged, cap, cap.picos, domain)
        for cap in caps
        if cap.picos is not None and silo in (None, _silo(cap))
        if (domain := spending.domains.get((_silo(cap), cap.domain))) is not None
    )


def domain_rows(audited: Audited, silo: str | None = None) -> tuple[DomainRow, ...]:
    """Every domain that a silo registered after its first, with its owner's word."""
    first: dict[str, Domain] = {}
    rows = []
    for domain in audited.spending.domains.values():
        earlier = first.setdefault(domain.silo, domain)
        if earlier is domain or silo not in (None, domain.silo):
            continue
        said = audited.spending.declarations.domains.get((domain.silo, domain.name))
        beside = earlier.name if said is None else ", ".join(said.beside)
        at, reason = ("", "") if said is None else (said.issued_at, said.reason)
        rows.append(DomainRow(domain.silo, domain.name, beside, at, reason))
    return tuple(rows)


def differences(audited: Audited, silo: str | None = None) -> tuple[str, ...]:
    """Where a silo's charges contradict what its owner declared, in sentences."""
    spending = audited.spending
    found = []
    charged = _charged(audited) if spending.declarations.caps else {}
    for (owner, domain, scope), names in sorted(charged.items()):
        for name, charges in sorted(names.items()):
            cap = spending.declarations.cap_on(owner, domain, scope, name)
            if cap is not None and silo in (None, owner) and _broken(cap, charges):
                found.append(
                    f"{owner} charged {scope} {name} more in domain {domain} than the cap that its owner declared at "
                    f"{cap.issued_at}"
                )
    undeclared = [row for row in domain_rows(audited, silo) if not row.reason]
    found += [f"{row.silo} registered domain {row.domain} beside {row.beside} without a word why" for row in undeclared]
    return tuple(found)


def _broken(cap: CapDeclared, charges: list[Charge]) -> bool:
    """Above the cap by something that the silo says it reserved after the cap stood: then nothing more was to fit.

    A settlement only lowers, so whoever is above at the end was above when the last of these was reserved.
    """
    return sum(charge.cost for charge in charges) > (cap.picos or 0) and any(
        charge.reserved_at > cap.issued_at for charge in charges
    )


def _charged(audited: Audited) -> Charged:
    found: Charged = {}
    for charge in _charges(audited.spending):
        contract = audited.studies[charge.study].contract
        named = [("dataset", contract.data.dataset), ("study", charge.study)]
        named += [("recipient", recipient) for recipient in contract.recipients]
        for scope, name in named:
            place = (charge.domain.silo, charge.domain.name, scope)
            found.setdefault(place, {}).setdefault(name, []).append(charge)
    return found


def _charges(spending: Spending) -> Iterator[Charge]:
    for rounds in spending.charges.values():
        yield from rounds.values()


def _row(spending: Spending, charged: Charged, cap: CapDeclared, picos: int, domain: Domain) -> CapRow:
    names, held = charged.get((domain.silo, domain.name, cap.scope), {}), spending.declarations
    under = [
        sum(charge.cost for charge in charges)
        for name, charges in names.items()
        if held.cap_on(domain.silo, domain.name, cap.scope, name) == cap
    ]
    on = f"each {cap.scope}" if cap.name == EACH else f"{cap.scope} {cap.name}"
    epsilon = accounting.epsilon_at(picos, domain.delta, domain.order)
    most = max(under, default=0) / domain.cap
    return CapRow(domain.silo, domain.name, on, cap.issued_at, picos / domain.cap, epsilon, most)


def _silo(cap: CapDeclared) -> str:
    return cap.issuer.partition(":")[2]
