"""Which registration of a dataset counts, as the whole log tells it.

The rules, each named in the reason when one is broken:

1. A registration is recorded once: whoever registers anew says so in a new statement. An old one that is recorded once
   more would pass for the newest, with rows, columns or units that the silo gave up.
2. Of a silo's registrations of a dataset that which the silo issued last counts, in whatever order they are recorded;
   of two of one second, the later leaf.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Self

from protocol.errors import RuleBroken
from protocol.membership_statements import DatasetRegistered


@dataclass(slots=True)
class Registrations:
    """``newest`` registrations so far, by silo and dataset; ``heard`` are issuers and nonces of all."""

    newest: dict[tuple[str, str], DatasetRegistered] = field(default_factory=dict)
    heard: set[tuple[str, str]] = field(default_factory=set)

    @classmethod
    def of(cls, bodies: Iterable[DatasetRegistered]) -> Self:
        """All of a log's, oldest leaf first. Raises ``RuleBroken`` by rule 1."""
        registrations = cls()
        for body in bodies:
            registrations.take(body)
        return registrations

    def take(self, body: DatasetRegistered) -> None:
        """The next one of the log. Raises ``RuleBroken`` by rule 1."""
        said = (body.issuer, body.nonce)
        if said in self.heard:
            raise RuleBroken(
                f"registration rule 1: the registration of dataset {body.dataset} that {body.issuer} issued at "
                f"{body.issued_at} was recorded before; it counts once"
            )
        self.heard.add(said)
        key = (body.issuer.partition(":")[2], body.dataset)
        held = self.newest.get(key)
        if held is None or held.issued_at <= body.issued_at:
            self.newest[key] = body
