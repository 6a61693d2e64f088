"""Which rows are trained on and which are held out: decided by a keyed hash of who the row is about.

A row's side must never change while the privacy domain lives, whatever file or version it comes in: a held-out
row that is trained on later makes every accuracy a lie. So the side hangs on what the row *is* and not on its
place: an insertion at the top moves every index by one, a sorted export moves all of them.
"""

import hmac
from collections import Counter
from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

CONTEXT: Final = b"consortia/split/v1\0"
_SCALE: Final = 2.0**-53


def named_identities(role: str, ids: Sequence[str]) -> list[bytes]:
    """What rows are known by where a column names them; ``role`` is "subject" or "record".

    All rows of one subject share one identity, and so one side.
    """
    prefix = role.encode() + b"\0"
    return [prefix + value.encode() for value in ids]


def content_identities(values: NDArray[np.float64]) -> list[bytes]:
    """What the rows of ``values`` (n, d) are known by where no column names them: all they hold.

    Equal rows are told apart by their occurrence number. Being equal, it doesn't matter which of them is which,
    so any order of the same rows yields the same split of the same contents.
    """
    seen: Counter[bytes] = Counter()
    identities = []
    # Adding zero turns -0.0 into 0.0: equal values must have equal bytes.
    for row in np.ascontiguousarray(values + 0.0, dtype="<f8"):
        content = row.tobytes()
        identities.append(b"content\0" + content + seen[content].to_bytes(8, "big"))
        seen[content] += 1
    return identities


def is_held_out(key: bytes, identity: bytes, test_share: float) -> bool:
    """Whether a row is held out: HMAC-SHA256(key, identity), read as a number in [0, 1), is below ``test_share``.

    Held out at one share is held out at every larger one, so studies that ask for different shares disagree
    about as few rows as they can.
    """
    mac = hmac.digest(key, CONTEXT + identity, "sha256")
    # 53 bits: every such number is a float exactly, and below 1.
    return (int.from_bytes(mac[:8], "big") >> 11) * _SCALE < test_share


def training_mask(key: bytes, identities: Sequence[bytes], test_share: float) -> NDArray[np.bool_]:
    """True for each row (n,) that is trained on, False for each that is held out. ``test_share`` in [0, 1)."""
    return np.fromiter(
        (not is_held_out(key, identity, test_share) for identity in identities), dtype=np.bool_, count=len(identities)
    )
