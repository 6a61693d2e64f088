"""The constants of the sealed sum and the layout of one exchange: pure arithmetic.

One BFV parameter set serves every study: ring degree 4096, one 60-bit ciphertext prime, a 46-bit plaintext
prime. Ciphertexts are only ever added, coefficient by coefficient, so the 4096 slots of a plaintext are simply its
coefficients. Batching would need a prime that is 1 modulo 8192; this one is, but nothing here relies on it. 60 bits
of modulus at degree 4096 lie far inside the 109 bits that the Homomorphic Encryption Standard (2018, table 1) allows
for 128-bit security.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final, cast

from protocol.sealing.errors import LayoutRefused

RING_DEGREE: Final = 4096
CIPHER_MODULUS: Final = 1152921504606830593  # `CoeffModulus.Create(4096, [60])`; bfv.py checks it at import
PLAIN_MODULUS: Final = 70368743669761
COEFFICIENT_BITS: Final = 60

# Noise is at most 21 a coefficient a term: decryption can't fail before 381 terms, 256 leave 5 bits.
MAX_TERMS: Final = 256
MIN_TERMS: Final = 2
MAX_VALUES: Final = 2**31
MAX_PER_SLOT: Final = 8
MAX_PARTS: Final = 1024
CIPHERTEXTS_PER_CHUNK: Final = 32

COUNT_SLOT: Final = RING_DEGREE - 1
DATA_SLOTS: Final = RING_DEGREE - 1

POLYNOMIAL_BYTES: Final = RING_DEGREE * COEFFICIENT_BITS // 8
SEED_BYTES: Final = 64
TAG_BYTES: Final = 8
TERM_CIPHERTEXT_BYTES: Final = POLYNOMIAL_BYTES + SEED_BYTES + TAG_BYTES
FREEZE_BYTES: Final = 32
MAC_KEY_BYTES: Final = 32

_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,62}")


def sum_ciphertext_bytes(survivors: int) -> int:
    """Bytes of one summed ciphertext: first polynomial, every term's seed, tag."""
    return POLYNOMIAL_BYTES + survivors * SEED_BYTES + TAG_BYTES


def radix_for(terms: int, bits: int) -> int:
    """R = n (2^b - 1) + 1: one more than the largest total of one value."""
    return terms * ((1 << bits) - 1) + 1


def most_bits(terms: int, per_slot: int) -> int:
    """The most bits a value with which `per_slot` totals of `terms` levels fit a slot; 0 when none do."""
    bits = 0
    while radix_for(terms, bits + 1) ** per_slot <= PLAIN_MODULUS:
        bits += 1
    return bits


@dataclass(frozen=True, slots=True)
class Part:
    """A named vector of bounded integers, with a precision of its own.

    name:     a lower-case letter, then up to 62 of a-z, 0-9, _ and -.
    values:   length of the vector, 1 to 2^31.
    per_slot: values a slot (D), 1 to 8.
    bits:     bits a level (b); None takes the most that fit the terms of its layout, where it becomes a number.

    Raises LayoutRefused.
    """

    name: str
    values: int
    per_slot: int = 3
    bits: int | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not _NAME.fullmatch(self.name):
            raise LayoutRefused(
                f"name {self.name!r}: must be a lower-case letter and up to 62 of a-z, 0-9, _ and -; rename the part"
            )
        _within(f"{self.name}.values", self.values, 1, MAX_VALUES)
        _within(f"{self.name}.per_slot", self.per_slot, 1, MAX_PER_SLOT)

    @property
    def level_bits(self) -> int:
        """b, the bits of one silo's level, of a part of a layout."""
        return cast(int, self.bits)

    @property
    def level_max(self) -> int:
        """The largest level one silo may contribute: 2^b - 1."""
        return (1 << self.level_bits) - 1

    @property
    def slots(self) -> int:
        """Slots that the part takes: it begins and ends with a slot of its own."""
        return -(-self.values // self.per_slot)

    def fitted(self, terms: int) -> "Part":
        """The part with its bits as a number. Raises LayoutRefused when R^D > t: a total could overflow its slot."""
        most = most_bits(terms, self.per_slot)
        if most < 1:
            raise LayoutRefused(
                f"{self.name}.per_slot {self.per_slot}: {terms} terms leave not even 1 bit a value; "
                "use fewer values a slot"
            )
        if self.bits is None:
            return replace(self, bits=most)
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= most:
            raise LayoutRefused(
                f"{self.name}.bits {self.bits}: {terms} terms at {self.per_slot} values a slot can hold 1 to {most} "
                "bits; lower the bits or the values a slot"
            )
        return self


@dataclass(frozen=True, slots=True)
class Piece:
    """What a run of ciphertexts holds of one part: values `start` to `stop` of the whole vector.

    They lie in `slots` slots from `slot` on, counted from the first slot of the run, count slots left out.
    """

    part: Part
    slot: int
    slots: int
    start: int
    stop: int


@dataclass(frozen=True, slots=True)
class Layout:
    """How named vectors of bounded integers lie in ciphertexts, slot after slot, one part after the other.

    parts: 1 to 1024, of different names and at most 2^31 values together. The whole vector is theirs joined.
    terms: the most silos whose levels may be added, 2 to 256.

    Every part's bits are numbers after construction, so two layouts are equal exactly when their ciphertexts are
    compatible. Raises LayoutRefused.
    """

    parts: tuple[Part, ...]
    terms: int

    def __post_init__(self) -> None:
        _within("terms", self.terms, MIN_TERMS, MAX_TERMS)
        _within("parts", len(self.parts), 1, MAX_PARTS)
        names = [part.name for part in self.parts]
        if len(set(names)) != len(names):
            twice = sorted({name for name in names if names.count(name) > 1})
            raise LayoutRefused(f"parts: more than one is named {', '.join(twice)}; rename all but one")
        _within("values", self.values, 1, MAX_VALUES)
        object.__setattr__(self, "parts", tuple(part.fitted(self.terms) for part in self.parts))

    @classmethod
    def single(cls, values: int, terms: int, per_slot: int = 3, bits: int | None = None) -> "Layout":
        """The layout of one vector, a part named "vector"."""
        return cls((Part("vector", values, per_slot, bits),), terms)

    def part(self, name: str) -> Part:
        """The part of this name. Raises LayoutRefused when there is none."""
        for part in self.parts:
            if part.name == name:
                return part
        raise LayoutRefused(f"part {name!r}: this layout has {', '.join(part.name for part in self.parts)}")

    def radix(self, part: Part) -> int:
        """R, the base of the digits in this part's slots: honest slots are below R^D."""
        return radix_for(self.terms, part.level_bits)

    @property
    def values(self) -> int:
        """Values in all parts."""
        return sum(part.values for part in self.parts)

    def pieces(self, first: int, count: int) -> Iterator[Piece]:
        """What `count` ciphertexts from `first` on hold of each part, in order."""
        low, high = first * DATA_SLOTS, (first + count) * DATA_SLOTS
        slot = value = 0
        for part in self.parts:
            begin, end = max(low, slot), min(high, slot + part.slots)
            if begin < end:
                start = value + (begin - slot) * part.per_slot
                stop = min(value + part.values, value + (end - slot) * part.per_slot)
                yield Piece(part, begin - low, end - begin, start, stop)
            slot, value = slot + part.slots, value + part.values

    def run(self, first: int, count: int) -> tuple[int, int]:
        """The values (start, stop) of the whole vector that `count` ciphertexts from `first` on hold."""
        pieces = list(self.pieces(first, count))
        return pieces[0].start, pieces[-1].stop

    @property
    def ciphertexts(self) -> int:
        """Ciphertexts of one term."""
        return -(-sum(part.slots for part in self.parts) // DATA_SLOTS)

    @property
    def chunks(self) -> int:
        """Chunks of one term, and of the sum."""
        return -(-self.ciphertexts // CIPHERTEXTS_PER_CHUNK)

    def ciphertexts_in(self, index: int) -> int:
        """Ciphertexts in chunk `index`: 32, fewer only in the last."""
        _within("index", index, 0, self.chunks - 1)
        return min(CIPHERTEXTS_PER_CHUNK, self.ciphertexts - index * CIPHERTEXTS_PER_CHUNK)

    def upload_chunk_bytes(self, index: int) -> int:
        """Exact length of a term's chunk `index`."""
        return self.ciphertexts_in(index) * TERM_CIPHERTEXT_BYTES

    def sum_chunk_bytes(self, index: int, survivors: int) -> int:
        """Exact length of the sum's chunk `index` when `survivors` terms were added."""
        self.check_survivors(survivors)
        return self.ciphertexts_in(index) * sum_ciphertext_bytes(survivors)

    @property
    def upload_bytes(self) -> int:
        """Bytes of a whole term."""
        return self.ciphertexts * TERM_CIPHERTEXT_BYTES

    def check_survivors(self, survivors: int) -> None:
        """Refuse a number of added terms that is below 2 (it would be a term) or above `terms`."""
        _within("survivors", survivors, MIN_TERMS, self.terms)


def _within(field: str, value: int, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise LayoutRefused(f"{field} {value!r}: must be a whole number from {low} to {high}")
