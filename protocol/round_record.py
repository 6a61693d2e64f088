"""One round of a study as the log tells it."""

from dataclasses import dataclass, field

from protocol.errors import RuleBroken
from protocol.keying import Keying
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    RoundVoided,
    SharesRevealed,
    SumServed,
    UploadComplete,
)

NO_BASE = "0" * 64
"""What round 0 is frozen on: there is no total before it."""


@dataclass(slots=True)
class RoundRecord:
    """One round at its last attempt. Times are the log's; ``macs`` are the state MACs by silo.

    ``keying`` is the epoch whose secret serves in it. ``offers`` are the silos' words that they are ready, ``signed``
    the silos that signed U3, ``failed`` those whose check failed, with whom they blame. ``freeze`` is F, once somebody
    asked for it.
    """

    index: int
    opened: RoundOpened
    opened_at: str
    keying: Keying
    ready: dict[str, str] = field(default_factory=dict)
    offers: dict[str, RoundReady] = field(default_factory=dict)
    frozen: RoundFrozen | None = None
    freeze: bytes = b""
    uploads: dict[str, UploadComplete] = field(default_factory=dict)
    served: SumServed | None = None
    served_digest: str = NO_BASE
    signed: set[str] = field(default_factory=set)
    revealed: dict[str, SharesRevealed] = field(default_factory=dict)
    macs: dict[str, str] = field(default_factory=dict)
    failed: dict[str, tuple[str, ...]] = field(default_factory=dict)
    closed: RoundClosed | None = None
    voided: RoundVoided | None = None
    closed_at: str | None = None

    @property
    def attempt(self) -> int:
        return self.opened.attempt

    @property
    def over(self) -> bool:
        """Whether the round has ended: its total counts, or nothing of it does."""
        return self.closed is not None or self.voided is not None

    @property
    def frozen_ready(self) -> dict[str, str]:
        """The frozen silos with their ready statements' digests. Raises ``RuleBroken`` before the freeze."""
        if self.frozen is None:
            raise RuleBroken(f"rule 6: round {self.index} is not frozen")
        return dict(self.frozen.ready)

    @property
    def total_served(self) -> SumServed:
        """The hub's statement of the sum. Raises ``RuleBroken`` before there is one."""
        if self.served is None:
            raise RuleBroken(f"rule 8: no total of round {self.index} was served")
        return self.served
