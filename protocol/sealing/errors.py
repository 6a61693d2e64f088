"""What the sealed sum refuses, one class for each way out.

Messages name the field, the value, the bound and the remedy. They never hold a level, a coefficient or key
material. What a silo *tells the hub* about a failed sum is one bit for the whole round (sealed-sum.md): the
detail in `SumRejected` is for the silo's own journal.
"""

import enum


class SealingError(Exception):
    """Root of everything this package raises on purpose."""


class LayoutRefused(SealingError, ValueError):
    """The vector, the number of terms, the bits and the values a slot don't fit one another."""


class LevelsRefused(SealingError, ValueError):
    """The integers to be sealed are not of the layout's length, type or range."""


class KeyRefused(SealingError, ValueError):
    """Key material of the wrong size or form: never used, not even once."""


class EnvelopeRefused(SealingError, ValueError):
    """A sealed envelope that doesn't open for this key and this context."""


class ChunkRefused(SealingError, ValueError):
    """An upload chunk that the hub must not add."""


class ScaleRefused(SealingError, ValueError):
    """Scale exponents or segments that are out of bounds or don't cover the vector."""


class SharesRefused(SealingError, ValueError):
    """Shares, a bundle of them or a reveal that can't be what an honest silo made."""


class MasksUnrecoverable(SealingError):
    """Too few shares that match their commitments. ``blamed``: silos that dealt or revealed something else."""

    def __init__(self, blamed: tuple[str, ...]) -> None:
        names = ", ".join(blamed) or "nobody: some revealed nothing"
        super().__init__(f"masks: the revealed shares don't give them; to blame: {names}")
        self.blamed = blamed


class Failure(enum.Enum):
    """Why a sum was rejected."""

    FORMAT = "format"
    TAG = "tag"
    CHANGED = "changed"
    CONTENT = "content"


class SumRejected(SealingError):
    """A sum that must not be used. The round is void, and the study needs a new key and a new K."""

    def __init__(self, failure: Failure, what: str) -> None:
        super().__init__(what)
        self.failure = failure
