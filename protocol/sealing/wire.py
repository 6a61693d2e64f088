"""The bytes of chunks: nothing of SEAL's own format ever crosses the wire.

A term's ciphertext is its first polynomial, 4096 coefficients of 60 bits, the 64-byte seed of its second, and
a tag. A summed ciphertext is the first polynomial of the sum, the seeds of all its terms in the order they
were added, and the summed tag: 64 bytes a term instead of 30,720, at most 16,384 for 256 terms, and the hub
needs no BFV library at all. Seeds carry no secret: the hub has them anyway, and the second polynomial of a
BFV ciphertext is public randomness.

Polynomials are packed canonically (every bit counts), so equal content means equal bytes.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.parameters import (
    CIPHER_MODULUS,
    COEFFICIENT_BITS,
    RING_DEGREE,
    SEED_BYTES,
)

Coefficients = NDArray[np.uint64]
Octets = NDArray[np.uint8]

_HALF: Final = RING_DEGREE // 2
_SPARE: Final = 64 - COEFFICIENT_BITS
_MASK: Final = np.uint64((1 << COEFFICIENT_BITS) - 1)
_MODULUS: Final = np.uint64(CIPHER_MODULUS)
# The top 56 bits of the second half travel as planes of 32, 16 and 8 bits.
_POLYNOMIAL: Final = np.dtype(
    [("low", "<u8", (_HALF,)), ("mid", "<u4", (_HALF,)), ("high", "<u2", (_HALF,)), ("top", "u1", (_HALF,))]
)


def chunk_type(seeds: int) -> np.dtype[np.void]:
    """Record of one ciphertext with `seeds` seeds: 1 in a term, one a survivor in a sum."""
    return np.dtype([("c0", _POLYNOMIAL), ("seeds", "u1", (seeds, SEED_BYTES)), ("tag", "<u8")])


def blank_chunk(ciphertexts: int, seeds: int) -> NDArray[np.void]:
    """Records to be filled and turned to bytes with `.tobytes()`."""
    return np.zeros(ciphertexts, dtype=chunk_type(seeds))


def put_polynomials(records: NDArray[np.void], coefficients: Coefficients) -> None:
    """Pack coefficients (ciphertexts, 4096), each below 2^60, into the records."""
    first, second = coefficients[:, :_HALF], coefficients[:, _HALF:]
    field = records["c0"]
    field["low"] = first | (second << np.uint64(COEFFICIENT_BITS))
    rest = second >> np.uint64(_SPARE)
    field["mid"] = rest & np.uint64(0xFFFFFFFF)
    field["high"] = (rest >> np.uint64(32)) & np.uint64(0xFFFF)
    field["top"] = rest >> np.uint64(48)


def polynomials(records: NDArray[np.void]) -> Coefficients:
    """Coefficients (ciphertexts, 4096), each below 2^60 but not yet checked against the modulus."""
    field = records["c0"]
    low = field["low"]
    out = np.empty((records.size, RING_DEGREE), dtype=np.uint64)
    np.bitwise_and(low, _MASK, out=out[:, :_HALF])
    second = out[:, _HALF:]
    second[...] = field["top"]
    second <<= np.uint64(16)
    second |= field["high"]
    second <<= np.uint64(32)
    second |= field["mid"]
    second <<= np.uint64(_SPARE)
    second |= low >> np.uint64(COEFFICIENT_BITS)
    return out


def parse(chunk: bytes, ciphertexts: int, seeds: int) -> tuple[NDArray[np.void], Coefficients] | str:
    """Records and coefficients of a chunk of known shape, or what is wrong with it."""
    expected = ciphertexts * chunk_type(seeds).itemsize
    if len(chunk) != expected:
        return f"length {len(chunk)}: must be {expected}"
    records = np.frombuffer(chunk, dtype=chunk_type(seeds))
    coefficients = polynomials(records)
    if int(coefficients.max()) >= CIPHER_MODULUS:
        return "coefficient: not below the modulus"
    if int(records["tag"].max()) >= CIPHER_MODULUS:
        return "tag: not below the modulus"
    return records, coefficients


def add_modulo(total: Coefficients, term: Coefficients) -> None:
    """total = total + term modulo Q, in place; both must be below Q."""
    total += term
    # Where total < Q the difference wraps to a huge number, so the minimum is the reduced one.
    np.minimum(total, total - _MODULUS, out=total)
