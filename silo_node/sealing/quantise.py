"""Floats to levels: stochastic rounding on a fixed grid (sealed-sum.md, Encoding, step 2).

    q = stochastic_round((x / 2^e + 1) / 2 * (2^b - 1)), clipped to [0, 2^b - 1]

The expectation of a level is its value's exact place on the grid, so errors average out over silos and rounds.
Weights, exponents and bits are fixed before the round and come from outside; what is out of range is clipped.
Rounding is done after any noise was added, so it is post-processing and costs no privacy.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocol.sealing.decode import Floats, Segment, check_cover
from protocol.sealing.errors import LayoutRefused, LevelsRefused, ScaleRefused

Uniforms = Callable[[int], NDArray[np.float64]]
"""count -> that many float64 in [0, 1)."""

MAX_BITS: Final = 46
KEY_BYTES: Final = 32
_BLOCK: Final = 1 << 14  # a block's intermediate arrays stay in the processor's cache


def quantise(
    values: Floats, segments: Sequence[Segment], bits: int, uniforms: Uniforms, weight: float = 1.0
) -> NDArray[np.uint64]:
    """Levels (n,), uint64 in [0, 2^bits - 1], of weight times the values (n,), float64.

    segments: runs of values with their power-of-two scales, covering all of them.
    uniforms: the source of randomness; `cryptographic_uniforms` in production.
    weight:   the silo's share, in (0, 1].

    Raises LevelsRefused on a value that is not finite (the count is told, no value), ScaleRefused on a weight or
    segments that don't fit, LayoutRefused on the bits.
    """
    _check(values, segments, bits, weight)
    levels = np.empty(values.size, dtype=np.uint64)
    top = float((1 << bits) - 1)
    start = 0
    for segment in segments:
        # Powers of two and the halving are exact: one product and one sum round.
        slope, middle = weight * 2.0**-segment.exponent * (top / 2), top / 2
        end = start + segment.length
        for at in range(start, end, _BLOCK):
            block = values[at : min(at + _BLOCK, end)]
            levels[at : at + block.size] = _round(block, slope, middle, top, uniforms(block.size))
        start = end
    return levels


def cryptographic_uniforms(key: bytes) -> Uniforms:
    """Uniform float64 on the 2^53 grid of [0, 1), from AES-256 in counter mode under a fresh 32-byte key.

    Never use a key twice: how a value was rounded tells on which side of a grid point it lies.
    """
    if len(key) != KEY_BYTES:
        raise ValueError(f"rounding key: {len(key)} bytes, must be {KEY_BYTES}")
    stream = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()

    def draw(count: int) -> Floats:
        words = np.frombuffer(stream.update(bytes(8 * count)), "<u8")
        fractions: Floats = (words >> np.uint64(11)).astype(np.float64)
        fractions *= 2.0**-53
        return fractions

    return draw


def _round(block: Floats, slope: float, middle: float, top: float, chance: Floats) -> Floats:
    with np.errstate(over="ignore"):  # an infinite place is clipped like any other
        place = block * slope
    place += middle
    np.clip(place, 0.0, top, out=place)
    # floor(place + u) would round u away where the place is large, so compare the fraction instead.
    floor = np.floor(place)
    place -= floor
    np.add(floor, chance < place, out=floor)
    return floor


def _check(values: Floats, segments: Sequence[Segment], bits: int, weight: float) -> None:
    if values.dtype != np.float64 or values.ndim != 1:
        raise LevelsRefused("values: must be a float64 array of one dimension")
    if isinstance(bits, bool) or not 1 <= bits <= MAX_BITS:
        raise LayoutRefused(f"bits {bits}: must be 1 to {MAX_BITS}")
    if not 0 < weight <= 1:
        raise ScaleRefused(f"weight {weight}: must be above 0 and at most 1")
    check_cover(segments, values.size)
    broken = values.size - int(np.count_nonzero(np.isfinite(values)))
    if broken:
        raise LevelsRefused(f"values: {broken} are not finite; the update must not be sealed")
