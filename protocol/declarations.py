"""What owners declared of their budgets, as the log tells it: caps beside a domain's own, and domains of other persons.

A silo's own ledger binds it to its caps. Here they stand for officers, who see where its log contradicts itself: of the
statements that a silo made about one dataset, study or recipient, that which it issued last counts.
"""

from dataclasses import dataclass, field
from typing import Final

from protocol.membership_statements import CapDeclared, DomainDeclared

EACH: Final = "*"
"""The name of a cap that holds for each one that has no cap of its own."""


@dataclass(slots=True)
class Declarations:
    """``caps`` in force by silo, domain, scope and name; ``domains`` declared, by silo and domain."""

    caps: dict[tuple[str, str, str, str], CapDeclared] = field(default_factory=dict)
    domains: dict[tuple[str, str], DomainDeclared] = field(default_factory=dict)

    def take(self, body: DomainDeclared | CapDeclared) -> None:
        """The next one of the log; one that is recorded again, or late, changes nothing."""
        silo = body.issuer.partition(":")[2]
        if isinstance(body, DomainDeclared):
            self.domains.setdefault((silo, body.domain), body)
            return
        key = (silo, body.domain, body.scope, body.name)
        held = self.caps.get(key)
        if held is None or held.issued_at <= body.issued_at:
            self.caps[key] = body

    def cap_on(self, silo: str, domain: str, scope: str, name: str) -> CapDeclared | None:
        """The cap that holds for a name: its own, else the one for each."""
        for key in (name, EACH):
            cap = self.caps.get((silo, domain, scope, key))
            if cap is not None and cap.picos is not None:
                return cap
        return None
