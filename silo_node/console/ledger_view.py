"""The ledger as its page shows it: a bar for each privacy domain, and what each study took of it."""

from dataclasses import dataclass, replace

from protocol.accounting import cost_of
from silo_node.agent.answers import balances
from silo_node.agent.silo import Silo
from silo_node.ledger.budget import Balance, Head
from silo_node.ledger.entry import Entry
from silo_node.ledger.ledger import Ledger


@dataclass(frozen=True, slots=True)
class StudyCharge:
    """What one study took: ``settled`` for rounds that are over, ``open`` reserved for others; Renyi picos."""

    study: str
    rounds: int = 0
    open: int = 0
    settled: int = 0
    last_at: str = ""

    @property
    def picos(self) -> int:
        return self.open + self.settled


@dataclass(frozen=True, slots=True)
class DomainView:
    """A domain, its registered datasets, and its studies, the newest charge first."""

    balance: Balance
    datasets: tuple[str, ...]
    charges: tuple[StudyCharge, ...]

    @property
    def share(self) -> float:
        return self.balance.spent_picos / self.balance.domain.cap_picos

    def share_of(self, charge: StudyCharge) -> float:
        return charge.picos / self.balance.domain.cap_picos


class LedgerReading:
    """The charges by study. The chain is read and verified anew whenever its head has moved."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._read: dict[str, tuple[Head, dict[str, StudyCharge]]] = {}

    def charges(self, balance: Balance) -> dict[str, StudyCharge]:
        """By study, in the order of their first charges."""
        domain, head = balance.domain, self._ledger.head()
        if domain.name not in self._read or self._read[domain.name][0] != head:
            entries = self._ledger.history(domain.name)
            self._read[domain.name] = head, _by_study(entries, domain.order)
        return self._read[domain.name][1]

    def reserved(self, balance: Balance, study: str) -> int:
        """What the study was charged so far, whether settled or not."""
        charge = self.charges(balance).get(study)
        return 0 if charge is None else charge.picos


def ledger_view(silo: Silo, reading: LedgerReading) -> tuple[DomainView, ...]:
    """Raises ``ConfigRefused`` for a dataset whose domain is not in the ledger."""
    named: dict[str, list[str]] = {}
    for dataset in silo.catalogue.list():
        named.setdefault(dataset.domain, []).append(dataset.name)
    return tuple(_domain(balance, named, reading) for balance in balances(silo))


def _domain(balance: Balance, named: dict[str, list[str]], reading: LedgerReading) -> DomainView:
    newest = sorted(reading.charges(balance).values(), key=lambda charge: charge.last_at, reverse=True)
    return DomainView(balance, tuple(named[balance.domain.name]), tuple(newest))


def _by_study(entries: tuple[Entry, ...], order: int) -> dict[str, StudyCharge]:
    found: dict[str, StudyCharge] = {}
    reserved: dict[str, int] = {}
    for entry in entries:
        study = entry.charge_id.partition(":")[0]
        known, cost = found.get(study, StudyCharge(study)), cost_of(entry.events, order) if entry.events else 0
        if entry.kind == "reserve":
            reserved[entry.charge_id] = cost
            found[study] = replace(known, rounds=known.rounds + 1, open=known.open + cost, last_at=entry.at)
        elif entry.kind == "settle":
            asked = reserved.pop(entry.charge_id)
            settled = known.settled + min(asked, cost)
            found[study] = replace(known, open=known.open - asked, settled=settled, last_at=entry.at)
    return found
