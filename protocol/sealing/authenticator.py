"""The tag of a ciphertext: a one-time universal hash over its coefficients, checked before decryption.

    tag_i = pad(F, m, i) + sum_k rho(F, m, k) c_{i,k}   modulo Q, over all 8192 coefficients

after Carter and Wegman (1981), additive in the terms because rho is the same for every silo i: the tags of a
sum are the sum of the tags. The hub, which doesn't know K, passes another ciphertext off with probability
about 2^-60. A silo must never tag two different ciphertexts under one freeze digest F and index m: their
difference would give the hub an equation in rho.

All of it is keyed by K through HKDF-SHA256 with F as salt; AES-256 in counter mode gives the numbers.
"""

import hmac
from collections.abc import Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from numpy.typing import NDArray

from protocol.sealing import keystream
from protocol.sealing.errors import KeyRefused
from protocol.sealing.parameters import (
    CIPHER_MODULUS,
    COEFFICIENT_BITS,
    FREEZE_BYTES,
    MAC_KEY_BYTES,
    RING_DEGREE,
    TAG_BYTES,
)
from protocol.sealing.wire import Coefficients

Limbs = NDArray[np.float64]

_DOMAIN: Final = b"consortia/sealed-sum/v1/"
_COEFFICIENTS: Final = 2 * RING_DEGREE
# Three limbs of 20 bits: a sum of 8192 = 2^13 products of two is below 2^53, so float64 holds it exactly
# whatever the order in which a dot product adds. Nine dot products are faster than one 3 x 3 matrix product.
_LIMB_BITS: Final = 20
_LIMBS: Final = 3
_LIMB_MASK: Final = np.int64((1 << _LIMB_BITS) - 1)
_PAD_BYTES: Final = 32  # 256 bits modulo Q: uniform to within 2^-196


class Authenticator:
    """Tags of one exchange: K and the freeze digest F fixed."""

    __slots__ = ("_freeze", "_mac_key", "_pad_keys", "_rho_key")

    def __init__(self, mac_key: bytes, freeze: bytes) -> None:
        if len(mac_key) != MAC_KEY_BYTES:
            raise KeyRefused(f"authenticator key: {len(mac_key)} bytes, must be {MAC_KEY_BYTES}")
        if len(freeze) != FREEZE_BYTES:
            raise KeyRefused(f"freeze digest: {len(freeze)} bytes, must be {FREEZE_BYTES}")
        self._mac_key = mac_key
        self._freeze = freeze
        self._rho_key = self._derive(b"rho")
        self._pad_keys: dict[str, bytes] = {}

    def weigh(self, index: int, coefficients: Coefficients) -> int:
        """sum_k rho(F, m, k) c_k modulo Q for ciphertext `index` with coefficients (8192,), each below Q."""
        left, right = _limbs(self._rho(index)), _limbs(coefficients)
        total = 0
        for row in range(_LIMBS):
            for column in range(_LIMBS):
                total += int(left[row] @ right[column]) << (_LIMB_BITS * (row + column))
        return total % CIPHER_MODULUS

    def pads(self, silo: str, first: int, count: int) -> list[int]:
        """One-time pads of `silo` for ciphertexts `first` to `first + count`, each modulo Q."""
        if silo not in self._pad_keys:
            self._pad_keys[silo] = self._derive(b"pad/" + silo.encode())
        blocks_each = _PAD_BYTES // 16
        stream = keystream.stream(self._pad_keys[silo], first * blocks_each, count * _PAD_BYTES)
        return [
            int.from_bytes(stream[at : at + _PAD_BYTES], "little") % CIPHER_MODULUS
            for at in range(0, len(stream), _PAD_BYTES)
        ]

    def tags(self, silo: str, first: int, ciphertexts: Sequence[Coefficients]) -> list[int]:
        """The tags of a silo's ciphertexts (8192,) from index `first` on."""
        pads = self.pads(silo, first, len(ciphertexts))
        return [
            (pad + self.weigh(first + at, coefficients)) % CIPHER_MODULUS
            for at, (pad, coefficients) in enumerate(zip(pads, ciphertexts, strict=True))
        ]

    def summed_pads(self, silos: Sequence[str], first: int, count: int) -> list[int]:
        """The pads that a sum of these silos' tags holds."""
        columns = zip(*(self.pads(silo, first, count) for silo in silos), strict=True)
        return [sum(column) % CIPHER_MODULUS for column in columns]

    def _rho(self, index: int) -> Coefficients:
        return keystream.uniform(self._rho_key, index, _COEFFICIENTS, CIPHER_MODULUS, COEFFICIENT_BITS)

    def _derive(self, purpose: bytes) -> bytes:
        return HKDF(SHA256(), 32, salt=self._freeze, info=_DOMAIN + purpose).derive(self._mac_key)


def same_tag(expected: int, found: int) -> bool:
    """Compare two tags in constant time."""
    return hmac.compare_digest(expected.to_bytes(TAG_BYTES, "little"), found.to_bytes(TAG_BYTES, "little"))


def _limbs(words: Coefficients) -> Limbs:
    signed = words.view(np.int64)  # below 2^60; NumPy turns signed numbers into floats faster
    limbs = np.empty((_LIMBS, words.size), dtype=np.float64)
    limbs[0] = signed & _LIMB_MASK
    limbs[1] = (signed >> _LIMB_BITS) & _LIMB_MASK
    limbs[2] = signed >> (2 * _LIMB_BITS)
    return limbs
