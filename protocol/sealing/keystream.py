"""AES-256 in counter mode as a source of bytes, and of numbers uniform below a modulus (by rejection)."""

from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

_SPARE_WORDS: Final = 8


def stream(key: bytes, block: int, length: int) -> bytes:
    """`length` bytes of the key stream from counter block `block` (16 bytes each) on."""
    cipher = Cipher(algorithms.AES256(key), modes.CTR(block.to_bytes(16, "big")))
    return cipher.encryptor().update(bytes(length))


def uniform(key: bytes, index: int, count: int, modulus: int, bits: int) -> NDArray[np.uint64]:
    """Numbers (count,) uniform below `modulus`, a function of (key, index): words cut to `bits`, rejected above."""
    words = count + _SPARE_WORDS
    while True:
        # Block counter: index in the high half of the 128 bits, so that indices never overlap.
        drawn = np.frombuffer(stream(key, index << 64, 8 * words), "<u8") & np.uint64((1 << bits) - 1)
        if int(drawn[:count].max()) < modulus:
            return drawn[:count]  # nearly always: both moduli lie just below a power of two
        kept = drawn[drawn < np.uint64(modulus)]
        if kept.size >= count:
            return kept[:count]
        words += _SPARE_WORDS  # the same stream, longer: still a function of (key, index)
