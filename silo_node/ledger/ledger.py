"""The ledger as the rest of a silo sees it."""

from collections.abc import Iterable
from typing import Protocol

from protocol.spend import Event
from silo_node.ledger.budget import Admitted, Balance, Head, PrivacyDomain, Recovered, Refused, Registered, Settled
from silo_node.ledger.caps import Cap, CapBalance, Capped, Room, Use
from silo_node.ledger.entry import Entry


class Ledger(Protocol):
    """The authority on what a silo's privacy domains have spent.

    Reserve the most a round can spend before a row is read, and settle it to what was run. A charge that is
    never settled keeps its full cost. Every method may raise LedgerDamaged or LedgerUnavailable; then
    nothing may be read or trained.
    """

    def register(self, domain: PrivacyDomain, reason: str | None = None) -> Registered | Refused:
        """Fixes a domain for good. Again with the same terms: the same answer; with other terms: refused. Beside
        another domain it needs the owner's reason why it is of other persons."""
        ...

    def cap(self, cap: Cap) -> Capped | Refused:
        """Sets, lowers, raises or lifts a cap beside the domain's own, which nothing raises. What is spent stays."""
        ...

    def reserve(self, domain: str, charge_id: str, events: Iterable[Event], use: Use) -> Admitted | Refused:
        """Charges the events, durably, if they fit the domain's cap and those of the dataset, study and recipients
        that `use` names. `charge_id` (like "study:round") is charged once, ever: again with the same events and use
        it answers the same admission, with others or once settled it is refused.
        A run under a repeated admission may release only if no earlier run under it did."""
        ...

    def settle(self, charge_id: str, events_run: Iterable[Event]) -> Settled | Refused:
        """Ends a charge at the reserved mechanisms with the steps really run (none at all: no events)."""
        ...

    def balance(self, domain: str) -> Balance | Refused:
        """What the domain has reserved and settled."""
        ...

    def room(self, domain: str, use: Use) -> Room | Refused:
        """What such a use may still take of the domain."""
        ...

    def caps(self, domain: str) -> tuple[CapBalance, ...]:
        """Every cap in force beside the domain's own."""
        ...

    def charge(self, charge_id: str) -> Admitted | Settled | None:
        """Where a charge stands: its end if it has one, None if it was never reserved."""
        ...

    def declared(self) -> tuple[Entry, ...]:
        """The entries with caps, and with the owner's word on domains beside others, oldest first."""
        ...

    def history(self, domain: str) -> tuple[Entry, ...]:
        """The domain's entries, oldest first; of the one chain of all domains, so there may be gaps."""
        ...

    def head(self) -> Head:
        """The end of the chain, for statements to carry and the hub to countersign."""
        ...

    def extends(self, digest: str) -> bool:
        """Whether the entry of this digest is in the chain: no, if the ledger was restored from before it.

        Yes also for a head of a lost chain that was recovered from.
        """
        ...

    def domains(self) -> tuple[PrivacyDomain, ...]:
        """All domains, by name."""
        ...

    def reregister(self, domain: PrivacyDomain, reason: str | None) -> Registered | Refused:
        """For recovery alone: a domain that was registered before."""
        ...

    def readmit(self, domain: str, charge_id: str, events: Iterable[Event], use: Use) -> Admitted | Refused:
        """For recovery alone: reserves what was admitted and run before, whether it fits or not."""
        ...

    def recover(self, heads: Iterable[str]) -> Recovered | Refused:
        """Puts on record that the charges behind these heads, of a chain that was lost, are in this one now."""
        ...
