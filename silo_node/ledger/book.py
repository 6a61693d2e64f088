"""The state that a ledger's entries amount to, and what may be written next. Pure: no clock, no file.

The entries are the only truth. Whoever keeps them replays them into a `Book`, asks it, writes the draft that
it answers with, and applies the written entry: a ledger with a memory of its own could disagree with them.
"""

from collections import Counter
from collections.abc import Iterable

from protocol.accounting import cost_of
from protocol.spend import Event
from silo_node.errors import LedgerDamaged
from silo_node.ledger import refusals
from silo_node.ledger.budget import (
    Admitted,
    Balance,
    Head,
    PrivacyDomain,
    Refused,
    Registered,
    Settled,
    listed,
)
from silo_node.ledger.entry import EMPTY, Draft, Entry


class Book:
    """All domains and charges up to `head`."""

    def __init__(self) -> None:
        self.head: Head = EMPTY
        self._domains: dict[str, Registered] = {}
        self._admitted: dict[str, Admitted] = {}
        self._settled: dict[str, Settled] = {}
        self._open_picos: Counter[str] = Counter()
        self._final_picos: Counter[str] = Counter()

    def balance(self, name: str) -> Balance | Refused:
        """Where the domain stands."""
        if name not in self._domains:
            return refusals.unknown_domain(name)
        return Balance(self._domains[name].domain, self._open_picos[name], self._final_picos[name])

    def register(self, domain: PrivacyDomain) -> Draft | Registered | Refused:
        """A new domain; the same one again is no change, and another under its name is refused."""
        known = self._domains.get(domain.name)
        if known is None:
            return Draft("domain", domain)
        if known.domain == domain:
            return known
        return refusals.fixed(known.domain, domain)

    def reserve(self, name: str, charge_id: str, events: Iterable[Event]) -> Draft | Admitted | Refused:
        """A new charge that fits the domain's budget; the same one again, until settled, the same admission."""
        asked = listed(events)
        balance = self.balance(name)
        if isinstance(asked, Refused):
            return asked
        if isinstance(balance, Refused):
            return balance
        refusal = refusals.misnamed(charge_id) or refusals.empty(asked) or refusals.weaker(balance.domain, asked)
        if refusal:
            return refusal
        known = self._admitted.get(charge_id)
        if known is None:
            return refusals.over(balance, asked) or Draft("reserve", balance.domain, charge_id, asked)
        if charge_id in self._settled:
            # What the settlement gave back may be spent by now: another run under this name would be free.
            return refusals.over_and_done(self._settled[charge_id])
        return known if (known.domain, known.events) == (name, asked) else refusals.already(known)

    def settle(self, charge_id: str, events_run: Iterable[Event]) -> Draft | Settled | Refused:
        """The end of a charge at the steps really run, once and for all; the same end again is no change."""
        ran = listed(events_run)
        if isinstance(ran, Refused):
            return ran
        charge = self._admitted.get(charge_id)
        if charge is None:
            return refusals.never_reserved(charge_id)
        known = self._settled.get(charge_id)
        if known is None:
            return refusals.beyond(charge, ran) or Draft("settle", self._domains[charge.domain].domain, charge_id, ran)
        return known if known.events == ran else refusals.already(known)

    def apply(self, entry: Entry) -> Registered | Admitted | Settled:
        """Takes in a written entry. Raises LedgerDamaged for one that no honest book could have drafted."""
        if entry.previous != self.head.digest:
            raise LedgerDamaged(f"entry {entry.head.length} of the ledger doesn't follow the one before it")
        match entry.kind:
            case "domain":
                outcome: Registered | Admitted | Settled = self._apply_domain(entry)
            case "reserve":
                outcome = self._apply_reserve(entry)
            case "settle":
                outcome = self._apply_settle(entry)
        self.head = entry.head
        return outcome

    def _apply_domain(self, entry: Entry) -> Registered:
        if entry.definition is None or entry.domain in self._domains:
            raise LedgerDamaged(f"entry {entry.head.length} of the ledger changes a domain that is fixed")
        registered = Registered(entry.definition, entry.head)
        self._domains[entry.domain] = registered
        return registered

    def _apply_reserve(self, entry: Entry) -> Admitted:
        if entry.domain not in self._domains or entry.charge_id in self._admitted:
            raise LedgerDamaged(f"entry {entry.head.length} of the ledger reserves what can't be reserved")
        # Not held against the cap: should a later version count dearer, old charges stand, nothing new fits.
        cost = cost_of(entry.events, self._domains[entry.domain].domain.order)
        admitted = Admitted(entry.domain, entry.charge_id, entry.events, cost, entry.head)
        self._admitted[entry.charge_id] = admitted
        self._open_picos[entry.domain] += cost
        return admitted

    def _apply_settle(self, entry: Entry) -> Settled:
        charge = self._admitted.get(entry.charge_id)
        if charge is None or entry.charge_id in self._settled or refusals.beyond(charge, entry.events):
            raise LedgerDamaged(f"entry {entry.head.length} of the ledger settles what can't be settled so")
        # An event split in two may round up twice.
        cost = min(charge.cost_picos, cost_of(entry.events, self._domains[charge.domain].domain.order))
        settled = Settled(charge.domain, entry.charge_id, entry.events, cost, entry.head)
        self._settled[entry.charge_id] = settled
        self._open_picos[charge.domain] -= charge.cost_picos
        self._final_picos[charge.domain] += cost
        return settled
