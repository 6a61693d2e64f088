"""Double masks inside the plaintext, modulo t (Bonawitz et al., CCS 2017, section 4.2).

    y_i = v_i + PRG(self_i) + sum_{j>i} PRG(pair_ij) - sum_{j<i} PRG(pair_ij)

over all 4096 slots of every ciphertext, the count slot and the padding too. In a sum over everyone the pair masks
cancel; the self masks, and the pair masks with silos that dropped out, come off with seeds from revealed shares.
"""

import hmac
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Final, NoReturn

import numpy as np
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.sealing import keystream
from protocol.sealing.errors import KeyRefused
from protocol.sealing.packing import Slots
from protocol.sealing.parameters import PLAIN_MODULUS, RING_DEGREE

SEED_BYTES: Final = 32
_BITS: Final = 46
_DOMAIN: Final = b"consortia/sealed-sum/v1/mask/"
_COMMITMENT: Final = b"consortia/self-mask/v1\x00"


@dataclass(frozen=True, slots=True)
class MaskOffer:
    """What a silo signs before the freeze: a fresh X25519 public key, and the SHA-256 commitment to its self seed."""

    mask_key: bytes
    self_commitment: bytes


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class MaskSecrets:
    """One silo's seeds of one attempt, 32 bytes each; `key_seed` is the X25519 private key. Never used twice."""

    self_seed: bytes
    key_seed: bytes

    def __post_init__(self) -> None:
        if len(self.self_seed) != SEED_BYTES or len(self.key_seed) != SEED_BYTES:
            raise KeyRefused(f"mask seeds: must be {SEED_BYTES} bytes each")

    @classmethod
    def generate(cls) -> "MaskSecrets":
        """New seeds from the operating system's randomness."""
        return cls(secrets.token_bytes(SEED_BYTES), secrets.token_bytes(SEED_BYTES))

    @classmethod
    def from_bytes(cls, raw: bytes) -> "MaskSecrets":
        """The seeds that `to_bytes` wrote."""
        return cls(raw[:SEED_BYTES], raw[SEED_BYTES:])

    def to_bytes(self) -> bytes:
        return self.self_seed + self.key_seed

    @property
    def offer(self) -> MaskOffer:
        return MaskOffer(public_of(self.key_seed), commitment_of(self.self_seed))

    def __repr__(self) -> str:
        return "MaskSecrets(<secret>)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("mask seeds are never pickled: pass to_bytes() where they must travel")


@dataclass(frozen=True, slots=True, repr=False)
class RecoveredSeeds:
    """Self seeds of the survivors, mask-key seeds of those who dropped out; `blamed`: whose shares were wrong."""

    self_seeds: Mapping[str, bytes]
    key_seeds: Mapping[str, bytes]
    blamed: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MaskStream:
    """Masks by the keys of their generators: those that are added, and those that are subtracted."""

    plus: tuple[bytes, ...] = field(repr=False)
    minus: tuple[bytes, ...] = field(repr=False)

    def add_to(self, slots: Slots, first: int) -> None:
        """slots = slots + masks modulo t, in place: (count, 4096), the first being ciphertext `first`."""
        self._shift(slots, first, self.plus, self.minus)

    def remove_from(self, slots: Slots, first: int) -> None:
        """slots = slots - masks modulo t, in place."""
        self._shift(slots, first, self.minus, self.plus)

    @staticmethod
    def _shift(slots: Slots, first: int, plus: tuple[bytes, ...], minus: tuple[bytes, ...]) -> None:
        for at, row in enumerate(slots):
            # 512 masks of 46 bits stay below 2^56: one reduction at the end.
            for key in plus:
                row += _mask(key, first + at)
            for key in minus:
                row -= _mask(key, first + at)
        np.remainder(slots, PLAIN_MODULUS, out=slots)


def check_mask_key(key: bytes) -> None:
    """Raises KeyRefused for bytes that are no X25519 public key, or whose every exchange gives zero (RFC 7748, 6.1)."""
    _shared(_PROBE, key)


def own_masks(mine: MaskSecrets, freeze: bytes, silo: str, offers: Mapping[str, MaskOffer]) -> MaskStream:
    """The masks of `silo`, given the offers of all frozen silos. Raises KeyRefused if its own is not among them."""
    offer = mine.offer
    if silo not in offers or offers[silo] != offer:
        raise KeyRefused("masks: the freeze holds another offer for this silo than the one it made")
    plus, minus = _pairs(mine.key_seed, freeze, silo, ((name, one.mask_key) for name, one in offers.items()))
    return MaskStream((_derive(mine.self_seed, freeze, b"self/" + silo.encode()), *plus), minus)


def masks_of_sum(
    freeze: bytes, survivors: Iterable[str], offers: Mapping[str, MaskOffer], seeds: RecoveredSeeds
) -> MaskStream:
    """What the sum of the survivors' terms still carries. `seeds` must cover every frozen silo, each by one seed."""
    living = sorted(survivors)
    plus = [_derive(seeds.self_seeds[name], freeze, b"self/" + name.encode()) for name in living]
    minus: list[bytes] = []
    for dropped, seed in sorted(seeds.key_seeds.items()):
        # Seen from the dropped silo: what it would have added, the survivors had subtracted.
        added, subtracted = _pairs(seed, freeze, dropped, ((name, offers[name].mask_key) for name in living))
        plus += subtracted
        minus += added
    return MaskStream(tuple(plus), tuple(minus))


def public_of(key_seed: bytes) -> bytes:
    """The X25519 public key of a mask-key seed."""
    return X25519PrivateKey.from_private_bytes(key_seed).public_key().public_bytes_raw()


def commitment_of(self_seed: bytes) -> bytes:
    """SHA-256 commitment to a self seed, hiding because the seed is random."""
    return sha256(_COMMITMENT + self_seed).digest()


def same(first: bytes, second: bytes) -> bool:
    """Compare in constant time."""
    return hmac.compare_digest(first, second)


def _pairs(
    key_seed: bytes, freeze: bytes, silo: str, others: Iterable[tuple[str, bytes]]
) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
    plus: list[bytes] = []
    minus: list[bytes] = []
    for name, public in others:
        if name == silo:
            continue
        names = "/".join(sorted((silo, name))).encode()
        key = _derive(_exchange(key_seed, public), freeze, b"pair/" + names)
        (plus if name > silo else minus).append(key)
    return tuple(plus), tuple(minus)


def _exchange(key_seed: bytes, public: bytes) -> bytes:
    return _shared(X25519PrivateKey.from_private_bytes(key_seed), public)


def _shared(key: X25519PrivateKey, public: bytes) -> bytes:
    try:
        return key.exchange(X25519PublicKey.from_public_bytes(public))
    except ValueError:
        raise KeyRefused("mask key: not an X25519 public key that any silo generates") from None


def _derive(key: bytes, freeze: bytes, purpose: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=freeze, info=_DOMAIN + purpose).derive(key)


def _mask(key: bytes, index: int) -> Slots:
    return keystream.uniform(key, index, RING_DEGREE, PLAIN_MODULUS, _BITS).view(np.int64)


_PROBE: Final = X25519PrivateKey.from_private_bytes(bytes(range(1, 33)))
