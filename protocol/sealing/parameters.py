"""The constants of the sealed sum and the layout of one exchange: pure arithmetic.

One BFV parameter set serves every study: ring degree 4096, one 60-bit ciphertext prime, a 46-bit plaintext
prime. Ciphertexts are only ever added, coefficient by coefficient, so the 4096 slots of a plaintext are simply its
coefficients. Batching would need a prime that is 1 modulo 8192; this one is, but nothing here relies on it. 60 bits
of modulus at degree 4096 lie far inside the 109 bits that the Homomorphic Encryption Standard (2018, table 1) allows
for 128-bit security.
"""

from dataclasses import dataclass
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
CIPHERTEXTS_PER_CHUNK: Final = 32

COUNT_SLOT: Final = RING_DEGREE - 1
DATA_SLOTS: Final = RING_DEGREE - 1

POLYNOMIAL_BYTES: Final = RING_DEGREE * COEFFICIENT_BITS // 8
SEED_BYTES: Final = 64
TAG_BYTES: Final = 8
TERM_CIPHERTEXT_BYTES: Final = POLYNOMIAL_BYTES + SEED_BYTES + TAG_BYTES
FREEZE_BYTES: Final = 32
MAC_KEY_BYTES: Final = 32


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
class Layout:
    """How a vector of bounded integers lies in ciphertexts.

    values:   length of the vector, 1 to 2^31.
    terms:    the most silos whose levels may be added, 2 to 256.
    per_slot: values a slot (D), 1 to 8.
    bits:     bits a level (b); None takes the most that fit. After construction it is always a number, so two
              layouts are equal exactly when their ciphertexts are compatible.

    Raises LayoutRefused when R^D > t, that is when a total of `terms` such values could overflow its slot.
    """

    values: int
    terms: int
    per_slot: int = 3
    bits: int | None = None

    def __post_init__(self) -> None:
        _within("values", self.values, 1, MAX_VALUES)
        _within("terms", self.terms, MIN_TERMS, MAX_TERMS)
        _within("per_slot", self.per_slot, 1, MAX_PER_SLOT)
        most = most_bits(self.terms, self.per_slot)
        if most < 1:
            raise LayoutRefused(
                f"per_slot {self.per_slot}: {self.terms} terms leave not even 1 bit a value; use fewer values a slot"
            )
        if self.bits is None:
            object.__setattr__(self, "bits", most)
            return
        if isinstance(self.bits, bool) or not isinstance(self.bits, int) or not 1 <= self.bits <= most:
            raise LayoutRefused(
                f"bits {self.bits}: {self.terms} terms at {self.per_slot} values a slot can hold 1 to {most} bits; "
                "lower the bits or the values a slot"
            )

    @property
    def level_bits(self) -> int:
        """b, the bits of one silo's level."""
        return cast(int, self.bits)  # __post_init__ sets it

    @property
    def level_max(self) -> int:
        """The largest level one silo may contribute: 2^b - 1."""
        return (1 << self.level_bits) - 1

    @property
    def radix(self) -> int:
        """R, the base of a slot's digits."""
        return radix_for(self.terms, self.level_bits)

    @property
    def slot_limit(self) -> int:
        """R^D: every honest slot is below it."""
        limit: int = self.radix**self.per_slot
        return limit

    @property
    def values_per_ciphertext(self) -> int:
        """Values in a full ciphertext: one slot of the 4096 is the count slot."""
        return DATA_SLOTS * self.per_slot

    @property
    def ciphertexts(self) -> int:
        """Ciphertexts of one term."""
        return -(-self.values // self.values_per_ciphertext)

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
