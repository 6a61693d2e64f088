"""The nonces that DPoP proofs must hold (RFC 9449, section 8): no state, the same at every replica of the hub.

A nonce is the MAC of a period of time under a key that all replicas derive from the hub's newest key; those of the
older keys count as well, as another replica may not have read the newest yet. Proofs are so bound to the hub's clock,
and used ones need to be remembered for as long as their nonce counts, and no longer.
"""

import base64
import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hub.services.recorder import Clock

PERIOD_S: Final = 60
_LABEL: Final = b"consortia/dpop-nonce/v1"


@dataclass(frozen=True, slots=True)
class Nonces:
    """`keys` gives the hub's keys, the newest first."""

    keys: Callable[[], Sequence[Ed25519PrivateKey]] = field(repr=False)
    clock: Clock

    @property
    def period(self) -> int:
        """Which period it is, counted from 1970."""
        return int(self.clock().timestamp()) // PERIOD_S

    def current(self) -> str:
        return _nonce(self.keys()[0], self.period)

    def period_of(self, nonce: str) -> int | None:
        """The period that a nonce is of: this one, the one before, or the next, which a replica whose clock is a
        little ahead gives out. None for any other nonce.
        """
        now, found = self.period, None
        for key in self.keys():
            for period in (now, now - 1, now + 1):
                if hmac.compare_digest(_nonce(key, period).encode(), nonce.encode()):
                    found = period
        return found

    @property
    def oldest(self) -> int:
        """The oldest period whose proofs a replica with a slow clock may still take."""
        return self.period - 2


def _nonce(key: Ed25519PrivateKey, period: int) -> str:
    derived = HKDF(SHA256(), 32, salt=None, info=_LABEL).derive(key.private_bytes_raw())
    mac = hmac.digest(derived, period.to_bytes(8, "big"), "sha256")
    return base64.urlsafe_b64encode(mac[:18]).decode()
