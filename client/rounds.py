"""One round of a study as the log tells it."""

from dataclasses import dataclass, field

from protocol.statements import RoundClosed, RoundFrozen, RoundOpened, SumServed, UploadComplete

NO_BASE = "0" * 64
"""What round 0 is frozen on: there is no total before it."""


@dataclass(slots=True)
class RoundRecord:
    """One round at its last attempt. Times are the log's."""

    index: int
    opened: RoundOpened
    opened_at: str
    ready: dict[str, str] = field(default_factory=dict)
    frozen: RoundFrozen | None = None
    uploads: dict[str, UploadComplete] = field(default_factory=dict)
    served: SumServed | None = None
    served_digest: str = NO_BASE
    macs: dict[str, str] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    closed: RoundClosed | None = None
    closed_at: str | None = None
