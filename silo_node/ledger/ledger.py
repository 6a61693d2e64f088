"""The ledger as the rest of a silo sees it."""

from collections.abc import Iterable
from typing import Protocol

from protocol.spend import Event
from silo_node.ledger.budget import Admitted, Balance, Head, PrivacyDomain, Refused, Registered, Settled
from silo_node.ledger.entry import Entry


class Ledger(Protocol):
    """The authority on what a silo's privacy domains have spent.

    Reserve the most a round can spend before a row is read, and settle it to what was run. A charge that is
    never settled keeps its full cost. Every method may raise LedgerDamaged or LedgerUnavailable; then
    nothing may be read or trained.
    """

    def register(self, domain: PrivacyDomain) -> Registered | Refused:
        """Fixes a domain for good. Again with the same terms: the same answer; with other terms: refused."""
        ...

    def reserve(self, domain: str, charge_id: str, events: Iterable[Event]) -> Admitted | Refused:
        """Charges the events, durably, if they fit. `charge_id` (like "study:round") is charged once, ever:
        again with the same events it answers the same admission, with others or once settled it is refused.
        A run under a repeated admission may release only if no earlier run under it did."""
        ...

    def settle(self, charge_id: str, events_run: Iterable[Event]) -> Settled | Refused:
        """Ends a charge at the reserved mechanisms with the steps really run (none at all: no events)."""
        ...

    def balance(self, domain: str) -> Balance | Refused:
        """What the domain has reserved and settled."""
        ...

    def history(self, domain: str) -> tuple[Entry, ...]:
        """The domain's entries, oldest first; of the one chain of all domains, so there may be gaps."""
        ...

    def head(self) -> Head:
        """The end of the chain, for statements to carry and the hub to countersign."""
        ...

    def extends(self, head: Head) -> bool:
        """Whether this ledger holds that head in its chain: no, if it was restored from before it."""
        ...
