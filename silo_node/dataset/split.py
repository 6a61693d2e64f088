"""Which rows are trained on and which are held out: decided by a keyed hash of who the row is about.

A row's side must never change while the privacy domain lives, whatever file or version it comes in: a held-out
row that is trained on later makes every accuracy a lie. So the side hangs on what the row *is* and not on its
place: an insertion at the top moves every index by one, a sorted export moves all of them.
"""

import hashlib
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.hmac import HMAC
from numpy.typing import NDArray

CONTEXT: Final = b"consortia/split/v1\0"
TAG_BYTES: Final = 16
_SCALE: Final = 2.0**-53


def named_identities(role: str, ids: Sequence[str]) -> list[bytes]:
    """What rows are known by where a column names them; ``role`` is "subject" or "record".

    All rows of one subject share one identity, and so one side.
    """
    prefix = role.encode() + b"\0"
    return [prefix + value.encode() for value in ids]


def content_identities(values: NDArray[np.float64], seen: "Counter[bytes]") -> list[bytes]:
    """What the rows of ``values`` (n, d) are known by where no column names them: all they hold.

    Equal rows are told apart by their occurrence number, counted in ``seen`` from one batch of rows to the next.
    Being equal, it doesn't matter which of them is which, so any order of the same rows yields the same split.
    """
    identities = []
    # Adding zero turns -0.0 into 0.0: equal values must have equal bytes.
    for row in np.ascontiguousarray(values + 0.0, dtype="<f8"):
        content = row.tobytes()
        digest = hashlib.blake2b(content, digest_size=16).digest()  # The contents themselves would be a second table.
        identities.append(b"content\0" + content + seen[digest].to_bytes(8, "big"))
        seen[digest] += 1
    return identities


def row_tags(key: bytes, identities: Iterable[bytes]) -> bytes:
    """The first 16 bytes of HMAC-SHA256(key, identity) for each row: they decide its side, and tell rows apart."""
    begun = HMAC(key, SHA256())  # Keyed once: a copy a row costs less than half of the keying.
    begun.update(CONTEXT)
    tags = []
    for identity in identities:
        mac = begun.copy()
        mac.update(identity)
        tags.append(mac.finalize()[:TAG_BYTES])
    return b"".join(tags)


def training_mask(tags: NDArray[np.uint64], test_share: float) -> NDArray[np.bool_]:
    """True for each row (n,) that is trained on, False for each that is held out. ``test_share`` in [0, 1).

    A row is held out where its tag (n, 2), read as a number in [0, 1), is below ``test_share``. Held out at one share
    is held out at every larger one, so studies that ask for different shares disagree about as few rows as they can.
    """
    # 53 bits: every such number is a float exactly, and below 1.
    trained: NDArray[np.bool_] = (tags[:, 0] >> np.uint64(11)) * _SCALE >= test_share
    return trained


def tags_of(data: bytes | bytearray) -> NDArray[np.uint64]:
    """``row_tags`` of n rows as numbers (n, 2)."""
    return np.frombuffer(data, ">u8").reshape(-1, 2).astype(np.uint64)


def first_repeat(tags: NDArray[np.uint64]) -> int | None:
    """The first row (from 1) whose tag (n, 2) a row above it has, or None.

    Two identities share 128 bits of a keyed hash by chance about never.
    """
    firsts = np.sort(tags[:, 0])
    if (firsts[1:] != firsts[:-1]).all():  # As of most datasets, and told much faster than by whole tags.
        return None
    order = np.lexsort((tags[:, 1], tags[:, 0]))  # Stable: of equal tags the row that comes first stands first.
    ordered = tags[order]
    again = order[1:][(ordered[1:] == ordered[:-1]).all(axis=1)]
    return int(again.min()) + 1 if len(again) else None
