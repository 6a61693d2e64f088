"""The ledger as its page shows it: a bar for each privacy domain, its caps, what each study took, how many more fit."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from protocol.accounting import cost_of
from protocol.record import StudyRecord
from silo_node.agent.answers import balances
from silo_node.agent.forecasting import DatasetForecast, forecasts
from silo_node.agent.reconciling import Reconciled, reconcile
from silo_node.agent.silo import Silo
from silo_node.ledger.budget import Balance, Head
from silo_node.ledger.caps import CapBalance
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
    """A domain, its registered datasets, its studies with the newest charge first, its caps, and a forecast for each
    dataset that was asked for."""

    balance: Balance
    datasets: tuple[str, ...]
    charges: tuple[StudyCharge, ...]
    caps: tuple[CapBalance, ...] = ()
    forecasts: tuple[DatasetForecast, ...] = ()

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
        self._compared: tuple[tuple[Head, int], Reconciled] | None = None

    def charges(self, balance: Balance) -> dict[str, StudyCharge]:
        """By study, in the order of their first charges."""
        domain, head = balance.domain, self._ledger.head()
        if domain.name not in self._read or self._read[domain.name][0] != head:
            entries = self._ledger.history(domain.name)
            self._read[domain.name] = head, _by_study(entries, domain.order)
        return self._read[domain.name][1]

    def compared(self, silo: Silo) -> Reconciled:
        """The ledger held against the log, anew whenever either has moved."""
        follower = silo.tasks.follower()
        at = self._ledger.head(), 0 if follower is None else follower.next
        if self._compared is None or self._compared[0] != at:
            self._compared = at, reconcile(silo)
        return self._compared[1]

    def reserved(self, balance: Balance, study: str) -> int:
        """What the study was charged so far, whether settled or not."""
        charge = self.charges(balance).get(study)
        return 0 if charge is None else charge.picos


def ledger_view(silo: Silo, reading: LedgerReading, records: Iterable[StudyRecord]) -> tuple[DomainView, ...]:
    """Raises ``ConfigRefused`` for a dataset whose domain is not in the ledger."""
    named: dict[str, list[str]] = {}
    for dataset in silo.catalogue.list():
        named.setdefault(dataset.domain, []).append(dataset.name)
    told = forecasts(silo, records)
    return tuple(_domain(silo, balance, named, reading, told) for balance in balances(silo))


def _domain(
    silo: Silo,
    balance: Balance,
    named: dict[str, list[str]],
    reading: LedgerReading,
    told: tuple[DatasetForecast, ...],
) -> DomainView:
    name = balance.domain.name
    newest = sorted(reading.charges(balance).values(), key=lambda charge: charge.last_at, reverse=True)
    mine = tuple(one for one in told if one.domain == name)
    return DomainView(balance, tuple(named[name]), tuple(newest), silo.ledger.caps(name), mine)


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
