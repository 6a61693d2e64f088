"""The tag of a ciphertext: a one-time universal hash over what it stands for, checked before decryption.

    tag_i = pad(F, m, i) + sum_k rho(F, m, k) c0_{i,k} + H(F, m, seed_i)   modulo Q

over the 4096 coefficients of the first polynomial c0 and the 64-byte seed of the second; H is HMAC-SHA256. After Carter
and Wegman (1981), additive in the terms because rho and H are the same for every silo i: a sum of tags is the sum of
the pads, the weight of the summed c0, and H of each seed. The seed is tagged, not the polynomial that it stands for,
so neither sealing nor checking expands one.

Why a hub without K passes another sum off with probability about 2^-60 a trial (docs/adr/0015-tags-cover-the-seed.md):

1. A sum is its summed c0 and the multiset of its seeds: the second polynomial is a function of these, whatever their
   order.
2. A pad is uniform and used once, so the tags of honest terms say nothing about rho and H. A term that is missing, or
   there twice, leaves a pad that nobody else knows.
3. With the honest sum of the named silos subtracted, a forgery needs <rho, dC0> + sum_s d_s H(s) = dT, where dC0, d_s
   and dT are the differences of the coefficients, of how often each seed s stands there, and of the tags.
   Same seeds, dC0 not 0: for fixed dC0 and dT, 1/Q of all rho fit, Q being prime. Same seeds, dC0 = 0: only dT = 0
   fits, and nothing is forged. Other seeds: some d_s is not 0 and at most 256, far below Q, and its H(s) is uniform
   and independent of everything seen: again 1/Q.

To this comes what tells AES-256 and HMAC-SHA256 from random functions.

A silo must never tag two different ciphertexts under one freeze digest F and index m: their difference would give the
hub an equation in rho and H.

All of it is keyed by K through HKDF-SHA256 with F as salt; AES-256 in counter mode gives pads and rho.
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
from protocol.sealing.wire import Coefficients, Octets

Limbs = NDArray[np.float64]

_DOMAIN: Final = b"consortia/sealed-sum/v1/"
# Three limbs of 20 bits: a sum of 4096 = 2^12 products of two is below 2^52, so float64 holds it exactly
# whatever the order in which a dot product adds. Nine dot products are faster than one 3 x 3 matrix product.
_LIMB_BITS: Final = 20
_LIMBS: Final = 3
_LIMB_MASK: Final = np.int64((1 << _LIMB_BITS) - 1)
_INDEX_BYTES: Final = 8
_PAD_BYTES: Final = 32  # 256 bits modulo Q: uniform to within 2^-196


class Authenticator:
    """Tags of one exchange: K and the freeze digest F fixed."""

    __slots__ = ("_freeze", "_mac_key", "_pad_keys", "_rho_key", "_seed_key")

    def __init__(self, mac_key: bytes, freeze: bytes) -> None:
        if len(mac_key) != MAC_KEY_BYTES:
            raise KeyRefused(f"authenticator key: {len(mac_key)} bytes, must be {MAC_KEY_BYTES}")
        if len(freeze) != FREEZE_BYTES:
            raise KeyRefused(f"freeze digest: {len(freeze)} bytes, must be {FREEZE_BYTES}")
        self._mac_key = mac_key
        self._freeze = freeze
        self._rho_key = self._derive(b"rho")
        self._seed_key = self._derive(b"seed")
        self._pad_keys: dict[str, bytes] = {}

    def tags(self, silos: Sequence[str], first: int, polynomials: Coefficients, seeds: Octets) -> list[int]:
        """The tags of a sum of these silos' terms, for ciphertexts `first` on; a term is the sum of one.

        polynomials: first polynomials (count, 4096), each coefficient below Q; seeds: (count, silos, 64).
        """
        pads = zip(*(self.pads(silo, first, len(polynomials)) for silo in silos), strict=True)
        return [
            (sum(column) + self.weigh(index, polynomial) + self.mark(index, its)) % CIPHER_MODULUS
            for index, (column, polynomial, its) in enumerate(zip(pads, polynomials, seeds, strict=True), first)
        ]

    def weigh(self, index: int, polynomial: Coefficients) -> int:
        """sum_k rho(F, m, k) c_k modulo Q for ciphertext `index` with coefficients (4096,), each below Q."""
        left, right = _limbs(self._rho(index)), _limbs(polynomial)
        total = 0
        for row in range(_LIMBS):
            for column in range(_LIMBS):
                total += int(left[row] @ right[column]) << (_LIMB_BITS * (row + column))
        return total % CIPHER_MODULUS

    def mark(self, index: int, seeds: Octets) -> int:
        """sum of H(F, m, seed) modulo Q over the seeds (n, 64) of ciphertext `index`, in whatever order."""
        place = index.to_bytes(_INDEX_BYTES, "big")
        marks = (hmac.digest(self._seed_key, place + seed.tobytes(), "sha256") for seed in seeds)
        return sum(int.from_bytes(mark, "little") for mark in marks) % CIPHER_MODULUS

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

    def _rho(self, index: int) -> Coefficients:
        return keystream.uniform(self._rho_key, index, RING_DEGREE, CIPHER_MODULUS, COEFFICIENT_BITS)

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
