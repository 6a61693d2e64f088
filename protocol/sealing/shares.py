"""Shamir's secret sharing (CACM 1979) of 32 bytes over the field of p = 2^256 + 297."""

import secrets
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from protocol.sealing.errors import SharesRefused

PRIME: Final = 2**256 + 297
SECRET_BYTES: Final = 32
SHARE_BYTES: Final = 33
NO_SHARE: Final = b"\xff" * SHARE_BYTES


def split(secret: bytes, holders: int, threshold: int) -> list[bytes]:
    """Shares (33 bytes, big-endian) at x = 1 to `holders`; any `threshold` of them give the secret, fewer nothing."""
    if len(secret) != SECRET_BYTES or not 1 <= threshold <= holders:
        raise SharesRefused(f"secret of {len(secret)} bytes, {threshold} of {holders}: must be 32 bytes, 1 to all")
    line = [secrets.randbelow(PRIME) for _ in range(threshold - 1)] + [int.from_bytes(secret, "big")]
    shares = []
    for x in range(1, holders + 1):
        value = 0
        for coefficient in line:
            value = (value * x + coefficient) % PRIME
        shares.append(value.to_bytes(SHARE_BYTES, "big"))
    return shares


def combine(shares: Mapping[int, bytes]) -> bytes:
    """The secret of exactly `threshold` shares by their x. Wrong shares give a wrong secret: compare a commitment."""
    total = 0
    for x, weight in _weights(tuple(sorted(shares))):
        value = int.from_bytes(shares[x], "big")
        if len(shares[x]) != SHARE_BYTES or value >= PRIME:
            raise SharesRefused(f"share {x}: not a number of the field")
        total += weight * value
    secret = total % PRIME
    if secret >= 1 << 256:
        raise SharesRefused("shares: they give no secret of 32 bytes")
    return secret.to_bytes(SECRET_BYTES, "big")


@lru_cache(maxsize=64)
def _weights(places: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """Lagrange's weights at zero."""
    weights = []
    for x in places:
        above, below = 1, 1
        for other in places:
            if other != x:
                above = above * other % PRIME
                below = below * (other - x) % PRIME
        weights.append((x, above * pow(below, -1, PRIME) % PRIME))
    return tuple(weights)
