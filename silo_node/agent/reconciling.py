"""The ledger held against what the log says that this silo charged: per round, declaration and domain.

Both are this silo's own word, so they differ only where a file was restored or replaced, a statement was lost on its
way, or the hub's log shows what this silo never said. The hub's mirror is compared by its totals.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from protocol.membership_statements import CapDeclared, DatasetRegistered, DomainDeclared
from protocol.round_statements import SpendReserved, SpendSettled
from protocol.rounds import charge_id
from protocol.routes import BudgetStatus
from protocol.signing import Signed
from protocol.spend import Event
from silo_node.agent.silo import Silo
from silo_node.ledger.budget import Balance, PrivacyDomain

Verdict = Literal["equal", "missing in the log", "missing here", "differs"]
Events = tuple[Event, ...] | None


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was said and kept: ``what`` names it, ``study`` is its study where it has one."""

    what: str
    verdict: Verdict
    study: str = ""
    detail: str = ""


@dataclass(slots=True)
class Charged:
    """One round's charge as one side has it: None where that side doesn't have it."""

    domain: str
    reserved: Events = None
    settled: Events = None


@dataclass(frozen=True, slots=True)
class Reconciled:
    """``leaves``: how far the log was read."""

    lines: tuple[Line, ...]
    leaves: int

    @property
    def differences(self) -> tuple[Line, ...]:
        return tuple(line for line in self.lines if line.verdict != "equal")


@dataclass(slots=True)
class Said:
    """What this silo's statements in the log say, by charge and by declaration."""

    charges: dict[str, Charged] = field(default_factory=dict)
    declared: dict[str, CapDeclared | DomainDeclared] = field(default_factory=dict)
    domains: dict[str, DatasetRegistered] = field(default_factory=dict)

    def take(self, signed: Signed) -> None:
        match signed.body:
            case SpendReserved() as body:
                self._charge(body).reserved = body.events
            case SpendSettled() as body:
                self._charge(body).settled = body.events
            case CapDeclared() | DomainDeclared() as body:
                self.declared[body.ledger_head] = body
            case DatasetRegistered() as body:
                self.domains.setdefault(body.domain, body)

    def _charge(self, body: SpendReserved | SpendSettled) -> Charged:
        return self.charges.setdefault(charge_id(body.study, body.round), Charged(body.domain))


def reconcile(silo: Silo) -> Reconciled:
    """Compares with the log as this silo verified it last; asks nobody."""
    said = said_by(silo)
    here = _kept(silo)
    lines = [_line(name, here.get(name), said.charges.get(name)) for name in dict.fromkeys([*here, *said.charges])]
    lines += [*_declarations(silo, said), *_domains(silo, said)]
    follower = silo.tasks.follower()
    return Reconciled(tuple(lines), 0 if follower is None else follower.next)


def said_by(silo: Silo, outbox: bool = False) -> Said:
    """What this silo's own statements in the log say; with ``outbox`` also those that it kept for sending."""
    said = Said()
    for signed in silo.tasks.outbox() if outbox else ():
        said.take(signed)
    for signed in silo.tasks.own_of_budgets(silo.identity.party):
        said.take(signed)
    return said


def mirror_lines(silo: Silo, mirrored: Iterable[BudgetStatus]) -> tuple[Line, ...]:
    """The hub's totals of this silo's domains beside the ledger's."""
    hub = {one.domain: one for one in mirrored}
    lines = []
    for domain in silo.ledger.domains():
        balance, status = silo.ledger.balance(domain.name), hub.pop(domain.name, None)
        lines.append(_mirrored(balance, status) if isinstance(balance, Balance) else _absent(domain.name))
    return (*lines, *(_absent(name) for name in hub))


def _mirrored(balance: Balance, status: BudgetStatus | None) -> Line:
    what = f"the hub's mirror of domain {balance.domain.name}"
    if status is None:
        return Line(what, "missing in the log", detail="the hub does not know the domain")
    ours, theirs = (balance.reserved_picos, balance.settled_picos), (status.reserved, status.settled)
    if ours == theirs:
        return Line(what, "equal")
    return Line(what, "differs", detail=f"reserved and settled are {ours} here and {theirs} there, in picos")


def _absent(domain: str) -> Line:
    return Line(f"the hub's mirror of domain {domain}", "missing here", detail="the ledger has no such domain")


def _kept(silo: Silo) -> dict[str, Charged]:
    kept: dict[str, Charged] = {}
    entries = [entry for domain in silo.ledger.domains() for entry in silo.ledger.history(domain.name)]
    for entry in entries:
        if entry.kind == "reserve":
            kept[entry.charge_id] = Charged(entry.domain, entry.events)
        elif entry.kind == "settle":
            kept[entry.charge_id].settled = entry.events
    return kept


def _line(name: str, here: Charged | None, logged: Charged | None) -> Line:
    study, _, index = name.partition(":")
    what = f"round {index}" if index.isdigit() else f"charge {name}"
    if here is None:
        return Line(what, "missing here", study, "the log has this silo's charge, the ledger has not")
    if logged is None or (logged.settled is None and here.settled is not None):
        lost = "reservation" if logged is None else "settlement"
        return Line(what, "missing in the log", study, f"the ledger's {lost} was not read in the log yet")
    if here.settled is None and logged.settled is not None:
        return Line(what, "missing here", study, "the log has this silo's settlement, the ledger has not")
    return Line(what, "equal", study) if here == logged else Line(what, "differs", study, "in domain or events")


def _declarations(silo: Silo, said: Said) -> Iterator[Line]:
    known = set()
    for entry in silo.ledger.declared():
        known.add(entry.head.digest)
        what = f"the cap on {entry.cap}" if entry.cap else f"the declaration of domain {entry.domain}"
        yield Line(what, "equal" if entry.head.digest in said.declared else "missing in the log")
    for head, body in said.declared.items():
        if head not in known and not silo.ledger.extends(head):
            yield Line(f"{body.type} of domain {body.domain}", "missing here")


def _domains(silo: Silo, said: Said) -> Iterator[Line]:
    for name, body in said.domains.items():
        balance, what = silo.ledger.balance(name), f"the terms of domain {name}"
        if not isinstance(balance, Balance):
            yield Line(what, "missing here")
            continue
        said_so = PrivacyDomain(body.domain, body.unit, body.epsilon, body.delta, body.order)
        yield Line(what, "equal" if balance.domain == said_so else "differs")
