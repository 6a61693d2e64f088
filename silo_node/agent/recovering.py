"""A ledger that was restored from an old backup, or lost, rebuilt from what this silo itself said and signed.

A round reads no row before its charge was said to the hub, so whatever was run stands in the log, and in this silo's
own memory of what it sent. All of it is brought back, whether it fits a cap or not; what is there stays. Then the heads
that this silo had signed of the lost chain go on record, so that an even older copy is noticed as before.
"""

from dataclasses import dataclass
from typing import TypeVar

from protocol.membership_statements import DatasetRegistered
from protocol.study import StudyContract
from silo_node.agent.answers import studies_of
from silo_node.agent.memory import head_signed
from silo_node.agent.reconciling import Charged, Said, said_by
from silo_node.agent.silo import Silo, use_of
from silo_node.dataset.registration import Dataset
from silo_node.errors import LedgerDamaged
from silo_node.ledger.budget import Admitted, PrivacyDomain, Recovered, Refused, Registered, Rule, Settled
from silo_node.ledger.caps import Cap, Capped, unnamed

_Kept = TypeVar("_Kept", Registered, Capped, Admitted, Settled)


@dataclass(frozen=True, slots=True)
class Recovery:
    """What was brought back, in numbers, and how many heads of the lost chain went on record."""

    domains: int
    caps: int
    charges: int
    settlements: int
    heads: int


def recover_ledger(silo: Silo) -> Recovery:
    """Brings back what is missing. Safe to repeat after a crash. Raises ``LedgerDamaged`` where the ledger holds
    something else under the same name: then a person has to look."""
    said = said_by(silo, outbox=True)
    heads = _heads(silo)
    silo.voice.note("decision", f"owner: recover the ledger; {len(heads)} heads that were signed are not in it", None)
    domains = _bring_back_domains(silo, said)
    caps = _bring_back_caps(silo, said)
    charges, settlements = _bring_back_charges(silo, said)
    recorded = silo.ledger.recover(heads)
    if isinstance(recorded, Refused) and recorded.rule is not Rule.CHAIN_KNOWN:
        raise LedgerDamaged(str(recorded))
    return Recovery(domains, caps, charges, settlements, len(recorded.heads) if isinstance(recorded, Recovered) else 0)


def _heads(silo: Silo) -> list[str]:
    """Every head that this silo signed and that its ledger does not hold."""
    signed = (head_signed(one) for one in (*silo.tasks.outbox(), *silo.tasks.own_of_budgets(silo.identity.party)))
    return [head for head in dict.fromkeys(signed) if head is not None and not silo.ledger.extends(head)]


def _bring_back_domains(silo: Silo, said: Said) -> int:
    """Those that were published, and those of registered datasets: either was fixed in the lost ledger."""
    reasons = {body.domain: body.reason for body in said.declared.values() if body.type == "domain-declared"}
    known, brought = {domain.name for domain in silo.ledger.domains()}, 0
    fixed: list[DatasetRegistered | Dataset] = [*said.domains.values(), *silo.catalogue.list()]
    for one in fixed:
        domain = PrivacyDomain(one.domain, one.unit, one.epsilon, one.delta, one.order)
        _kept(silo.ledger.reregister(domain, reasons.get(domain.name)))
        brought += domain.name not in known
        known.add(domain.name)
    return brought


def _bring_back_caps(silo: Silo, said: Said) -> int:
    """In the order in which they were said: the newest counts, as it did."""
    lost = [
        body for head, body in said.declared.items() if body.type == "cap-declared" and not silo.ledger.extends(head)
    ]
    for body in lost:
        _kept(silo.ledger.cap(Cap(body.domain, body.scope, body.name, body.picos)))
    return len(lost)


def _bring_back_charges(silo: Silo, said: Said) -> tuple[int, int]:
    contracts = {record.study: record.contract for record in studies_of(silo)}
    charges = settlements = 0
    for name, charged in said.charges.items():
        charges += _reserve(silo, name, charged, contracts)
        settlements += _settle(silo, name, charged)
    return charges, settlements


def _reserve(silo: Silo, name: str, charged: Charged, contracts: dict[str, StudyContract]) -> bool:
    if charged.reserved is None:
        raise LedgerDamaged(f"charge {name} was said to be settled and never to be reserved: ask a person")
    if silo.ledger.charge(name) is not None:
        return False
    study = name.partition(":")[0]
    use = use_of(contracts[study], study) if study in contracts else unnamed(study)
    _kept(silo.ledger.readmit(charged.domain, name, charged.reserved, use))
    return True


def _settle(silo: Silo, name: str, charged: Charged) -> bool:
    if charged.settled is None or isinstance(silo.ledger.charge(name), Settled):
        return False
    _kept(silo.ledger.settle(name, charged.settled))
    return True


def _kept(outcome: _Kept | Refused) -> _Kept:
    if isinstance(outcome, Refused):
        raise LedgerDamaged(f"the ledger can't take back what this silo said: {outcome}")
    return outcome
