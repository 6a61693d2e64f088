"""Sealing bytes to one silo: HPKE in base mode, single shot (RFC 9180), with a post-quantum hybrid KEM.

ML-KEM-768 with X25519, HKDF-SHA256, ChaCha20-Poly1305. Base mode doesn't say who sealed: the envelope travels
in a signed statement, and `info` holds the canonical context (study, sender, recipient, key epoch).
"""

from dataclasses import dataclass, field
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from protocol.sealing.errors import EnvelopeRefused, KeyRefused

MLKEM_PUBLIC_BYTES: Final = 1184
MLKEM_SEED_BYTES: Final = 64
X25519_BYTES: Final = 32
PUBLIC_KEY_BYTES: Final = MLKEM_PUBLIC_BYTES + X25519_BYTES
PRIVATE_KEY_BYTES: Final = MLKEM_SEED_BYTES + X25519_BYTES
ENCAPSULATION_BYTES: Final = 1088 + X25519_BYTES
OVERHEAD_BYTES: Final = ENCAPSULATION_BYTES + 16
MAX_CONTENT_BYTES: Final = 1 << 30

_SUITE: Final = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True, slots=True)
class EnvelopeKeys:
    """A recipient's key pair: public key of 1216 bytes (ML-KEM-768, X25519), private of 96 (seed, X25519)."""

    public: bytes
    private: bytes = field(repr=False)

    def __repr__(self) -> str:
        return "EnvelopeKeys(<secret>)"


def generate_keys() -> EnvelopeKeys:
    """A new key pair from the operating system's randomness."""
    return from_private(
        MLKEM768PrivateKey.generate().private_bytes_raw() + X25519PrivateKey.generate().private_bytes_raw()
    )


def from_private(private: bytes) -> EnvelopeKeys:
    """The key pair of 96 private bytes. Raises KeyRefused on another size."""
    lattice, curve = _private_parts(private)
    public = lattice.public_key().public_bytes_raw() + curve.public_key().public_bytes_raw()
    return EnvelopeKeys(public, private)


def check_public(public: bytes) -> None:
    """Raises KeyRefused unless these are 1216 bytes that both parts accept."""
    _public_key(public)


def seal_envelope(content: bytes, public: bytes, info: bytes) -> bytes:
    """Seal up to 1 GiB to the holder of `public`, bound to `info`: `OVERHEAD_BYTES` longer than the content."""
    if len(content) > MAX_CONTENT_BYTES:
        raise EnvelopeRefused(f"content: {len(content)} bytes, at most {MAX_CONTENT_BYTES} fit an envelope")
    key = _public_key(public)
    try:
        return _SUITE.encrypt(content, key, info)
    except ValueError:  # RFC 9180, 7.1.4: an exchange that gives zero
        raise KeyRefused("public envelope key: a weak key that no silo generates") from None


def open_envelope(envelope: bytes, private: bytes, info: bytes) -> bytes:
    """The content of an envelope that was sealed to this key under this very context.

    Raises EnvelopeRefused on a wrong size, key, context or any changed bit, without saying which of the last.
    """
    if not OVERHEAD_BYTES <= len(envelope) <= OVERHEAD_BYTES + MAX_CONTENT_BYTES:
        raise EnvelopeRefused(
            f"envelope: {len(envelope)} bytes, must be {OVERHEAD_BYTES} to {OVERHEAD_BYTES + MAX_CONTENT_BYTES}"
        )
    key = MLKEM768X25519PrivateKey(*_private_parts(private))
    try:
        return _SUITE.decrypt(envelope, key, info)
    except (InvalidTag, ValueError):
        raise EnvelopeRefused("envelope: doesn't open for this key and this context; ask for a new one") from None


def _private_parts(private: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    if len(private) != PRIVATE_KEY_BYTES:
        raise KeyRefused(f"private envelope key: {len(private)} bytes, must be {PRIVATE_KEY_BYTES}")
    return (
        MLKEM768PrivateKey.from_seed_bytes(private[:MLKEM_SEED_BYTES]),
        X25519PrivateKey.from_private_bytes(private[MLKEM_SEED_BYTES:]),
    )


def _public_key(public: bytes) -> MLKEM768X25519PublicKey:
    if len(public) != PUBLIC_KEY_BYTES:
        raise KeyRefused(f"public envelope key: {len(public)} bytes, must be {PUBLIC_KEY_BYTES}")
    try:
        return MLKEM768X25519PublicKey(
            MLKEM768PublicKey.from_public_bytes(public[:MLKEM_PUBLIC_BYTES]),
            X25519PublicKey.from_public_bytes(public[MLKEM_PUBLIC_BYTES:]),
        )
    except ValueError:
        raise KeyRefused("public envelope key: not a valid ML-KEM-768 and X25519 key") from None
