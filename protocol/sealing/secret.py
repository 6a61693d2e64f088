"""The study secret: what the key silo makes, seals to each accepted silo, and nobody else ever holds."""

import hmac
import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, NoReturn

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.sealing import bfv
from protocol.sealing.errors import KeyRefused
from protocol.sealing.parameters import MAC_KEY_BYTES

_MAGIC: Final = b"consortia/study-secret/v1\n"
SECRET_BYTES: Final = len(_MAGIC) + bfv.KEY_BYTES + MAC_KEY_BYTES


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class StudySecret:
    """One epoch's BFV key (1024 bytes, packed ternary) and authenticator key K (32 bytes).

    Raises KeyRefused unless both have the form `generate` gives. Shows nothing of itself, compares in constant
    time, and can't be pickled by accident: `to_bytes` is the one way out.
    """

    bfv_key: bytes
    mac_key: bytes

    def __post_init__(self) -> None:
        bfv.unpack_key(self.bfv_key)
        if len(self.mac_key) != MAC_KEY_BYTES:
            raise KeyRefused(f"authenticator key: {len(self.mac_key)} bytes, must be {MAC_KEY_BYTES}")

    @classmethod
    def generate(cls) -> "StudySecret":
        """A new secret from the operating system's randomness."""
        return cls(bfv.generate_key(), secrets.token_bytes(MAC_KEY_BYTES))

    @classmethod
    def from_bytes(cls, raw: bytes) -> "StudySecret":
        """The secret that `to_bytes` wrote. Raises KeyRefused on any other form."""
        if len(raw) != SECRET_BYTES or not raw.startswith(_MAGIC):
            raise KeyRefused(f"study secret: {len(raw)} bytes that are not a version 1 secret of {SECRET_BYTES}")
        return cls(raw[len(_MAGIC) : -MAC_KEY_BYTES], raw[-MAC_KEY_BYTES:])

    def to_bytes(self) -> bytes:
        """All of it, for an envelope or a private file."""
        return _MAGIC + self.bfv_key + self.mac_key

    def commitment(self, context: bytes) -> bytes:
        """32 bytes every holder can recompute and compare, and from which nobody learns the secret.

        HMAC-SHA256 over the context (study, key epoch), keyed by a subkey of the whole secret: as hiding as the
        secret is unguessable, as binding as SHA-256 resists collisions.
        """
        return hmac.digest(self._subkey(b"commitment"), context, sha256)

    def state_mac(self, context: bytes, state: bytes) -> bytes:
        """32 bytes that agree between two holders exactly when context and state do.

        A bare hash of a small total could be guessed by the hub; this it can't check a guess against.
        """
        return self.state_mac_of(context, [state])

    def state_mac_of(self, context: bytes, blocks: Iterable[bytes]) -> bytes:
        """`state_mac` of a state that comes in `blocks`, cut anywhere, so that a long one is never held whole."""
        mac = hmac.new(self._subkey(b"state"), len(context).to_bytes(8, "big") + context, sha256)
        for block in blocks:
            mac.update(block)
        return mac.digest()

    def reveal_key(self, context: bytes) -> bytes:
        """32 bytes under which shares are revealed to all holders of this secret, in one context."""
        return hmac.digest(self._subkey(b"reveal"), context, sha256)

    def _subkey(self, purpose: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt=None, info=b"consortia/study-secret/v1/" + purpose).derive(self.to_bytes())

    def __repr__(self) -> str:
        return "StudySecret(<secret>)"

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, StudySecret):
            return NotImplemented
        return hmac.compare_digest(self.to_bytes(), other.to_bytes())

    def __hash__(self) -> NoReturn:
        raise TypeError("a StudySecret has no hash: it would be a guess to check against")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a StudySecret is never pickled: pass to_bytes() where it must travel")
