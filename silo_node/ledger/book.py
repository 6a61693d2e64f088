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
    OtherPersons,
    PrivacyDomain,
    Recovered,
    Refused,
    Registered,
    Settled,
    listed,
)
from silo_node.ledger.caps import Cap, CapBalance, Capped, CapTable, Room, Use
from silo_node.ledger.entry import EMPTY, Draft, Entry

Outcome = Registered | Admitted | Settled | Capped | Recovered


class Book:
    """All domains, caps and charges up to `head`. `declared`: the entries with what the owner has to make known."""

    def __init__(self) -> None:
        self.head: Head = EMPTY
        self._domains: dict[str, Registered] = {}
        self._admitted: dict[str, Admitted] = {}
        self._settled: dict[str, Settled] = {}
        self._open_picos: Counter[str] = Counter()
        self._final_picos: Counter[str] = Counter()
        self._caps = CapTable()
        self._uses: dict[str, Use | None] = {}
        self._digests: dict[str, int] = {EMPTY.digest: 0}
        self.declared: list[Entry] = []

    def balance(self, name: str) -> Balance | Refused:
        """Where the domain stands."""
        if name not in self._domains:
            return refusals.unknown_domain(name)
        return Balance(self._domains[name].domain, self._open_picos[name], self._final_picos[name])

    @property
    def domains(self) -> tuple[PrivacyDomain, ...]:
        """All of them, by name."""
        return tuple(one.domain for _, one in sorted(self._domains.items()))

    def room(self, name: str, use: Use) -> Room | Refused:
        """What such a use may still take of the domain."""
        balance = self.balance(name)
        return balance if isinstance(balance, Refused) else Room(balance, self._caps.of(name, use))

    def caps(self, name: str) -> tuple[CapBalance, ...]:
        """Every cap in force on the domain."""
        return self._caps.all(name)

    def charge(self, charge_id: str) -> Admitted | Settled | None:
        """Where a charge stands: its end if it has one."""
        return self._settled.get(charge_id) or self._admitted.get(charge_id)

    def holds(self, digest: str) -> bool:
        """Whether the chain has an entry of this digest, or a recovery that took over from it."""
        return digest in self._digests

    def register(
        self, domain: PrivacyDomain, reason: str | None = None, *, registered_before: bool = False
    ) -> Draft | Registered | Refused:
        """A new domain; the same one again is no change, and another under its name is refused.

        Beside others it needs the owner's ``reason`` why it is of other persons: budget is for those, and never comes
        back. ``registered_before``: a domain of a chain that was lost.
        """
        known, others = self._domains.get(domain.name), tuple(sorted(self._domains))
        if known is None:
            if reason is None and others and not registered_before:
                return refusals.undeclared(domain, others)
            declared = None if reason is None or not others else OtherPersons(others, reason)
            return Draft("domain", domain, others=declared)
        if known.domain == domain:
            return known
        return refusals.fixed(known.domain, domain)

    def cap(self, cap: Cap) -> Draft | Capped | Refused:
        """A cap beside the domain's, in place of the one that was there; the same one again is no change."""
        if cap.domain not in self._domains:
            return refusals.unknown_domain(cap.domain)
        domain, known = self._domains[cap.domain].domain, self._caps.declared(cap)
        if known is not None and known.cap == cap:
            return known
        return refusals.beyond_domain(cap, domain) or Draft("cap", domain, cap=cap)

    def reserve(
        self, name: str, charge_id: str, events: Iterable[Event], use: Use, *, admitted_before: bool = False
    ) -> Draft | Admitted | Refused:
        """A new charge that fits every cap; the same one again, until settled, the same admission.

        ``admitted_before``: a charge of a chain that was lost. It was run, so it counts whether it fits or not.
        """
        asked, room = listed(events), self.room(name, use)
        if isinstance(asked, Refused):
            return asked
        if isinstance(room, Refused):
            return room
        domain = room.balance.domain
        refusal = refusals.misnamed(charge_id) or refusals.empty(asked) or refusals.weaker(domain, asked)
        if refusal:
            return refusal
        known = self._admitted.get(charge_id)
        if known is None:
            refusal = None if admitted_before else refusals.over(room, asked)
            return refusal or Draft("reserve", domain, charge_id, asked, use)
        if charge_id in self._settled:
            # What the settlement gave back may be spent by now: another run under this name would be free.
            return refusals.over_and_done(self._settled[charge_id])
        same = (known.domain, known.events) == (name, asked) and self._uses[charge_id] in (use, None)
        return known if same else refusals.already(known)

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

    def recover(self, heads: Iterable[str]) -> Draft | Refused:
        """That the charges behind heads of a lost chain are in this one now; only of heads that it doesn't have."""
        lost = tuple(sorted({head for head in heads if not self.holds(head)}))
        return Draft("recover", heads=lost) if lost else refusals.nothing_lost()

    def apply(self, entry: Entry) -> Outcome:
        """Takes in a written entry. Raises LedgerDamaged for one that no honest book could have drafted."""
        if entry.previous != self.head.digest:
            raise LedgerDamaged(f"entry {entry.head.length} of the ledger doesn't follow the one before it")
        match entry.kind:
            case "domain":
                outcome: Outcome = self._apply_domain(entry)
            case "reserve":
                outcome = self._apply_reserve(entry)
            case "settle":
                outcome = self._apply_settle(entry)
            case "cap":
                outcome = self._apply_cap(entry)
            case "recover":
                outcome = self._apply_recovery(entry)
        if entry.cap is not None or entry.others is not None:
            self.declared.append(entry)
        self.head = entry.head
        self._digests[entry.head.digest] = entry.head.length
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
        self._admitted[entry.charge_id], self._uses[entry.charge_id] = admitted, entry.use
        self._open_picos[entry.domain] += cost
        self._caps.count(entry.domain, entry.charge_id, entry.use, cost)
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
        self._caps.count(charge.domain, entry.charge_id, self._uses[entry.charge_id], cost - charge.cost_picos)
        return settled

    def _apply_cap(self, entry: Entry) -> Capped:
        # Not held against the domain's own: should a later version count dearer, the domain's filter still binds.
        if entry.cap is None or entry.domain not in self._domains:
            raise LedgerDamaged(f"entry {entry.head.length} of the ledger caps a domain that it doesn't have")
        capped = Capped(entry.cap, entry.head)
        self._caps.put(capped)
        return capped

    def _apply_recovery(self, entry: Entry) -> Recovered:
        if not entry.heads or any(head in self._digests for head in entry.heads):
            raise LedgerDamaged(f"entry {entry.head.length} of the ledger recovers what it holds")
        self._digests.update(dict.fromkeys(entry.heads, entry.head.length))
        return Recovered(entry.heads, entry.head)
