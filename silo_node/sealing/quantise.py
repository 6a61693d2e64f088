"""Floats to levels: stochastic rounding on a fixed grid (sealed-sum.md, Encoding, step 2).

    q = stochastic_round((x / 2^e + 1) / 2 * (2^b - 1)), clipped to [0, 2^b - 1]

The expectation of a level is its value's exact place on the grid, so errors average out over silos and rounds.
Weights, exponents and bits are fixed before the round and come from outside; what is out of range is clipped and
counted. Rounding is done after any noise was added: the levels and the count are post-processing and cost no privacy.
"""

from collections.abc import Callable, Iterator, Sequence
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


class Quantiser:
    """Levels of weight times the values (n,), float64, run after run, so that a long vector streams.

    segments: runs of values with their power-of-two scales, covering all of them.
    uniforms: the source of randomness; `cryptographic_uniforms` in production.
    weight:   the silo's share, in (0, 1].

    Raises LevelsRefused on a value that is not finite (the count is told, no value), ScaleRefused on a weight or
    segments that don't fit, LayoutRefused on the bits; all before a level is made.
    """

    def __init__(
        self, values: Floats, segments: Sequence[Segment], bits: int, uniforms: Uniforms, weight: float = 1.0
    ) -> None:
        _check(values, segments, bits, weight)
        self._values, self._segments, self._uniforms, self._weight = values, tuple(segments), uniforms, weight
        self._top = float((1 << bits) - 1)
        self._done = 0
        self._clipped = 0

    @property
    def clipped(self) -> int:
        """How many of the values read so far were out of range."""
        return self._clipped

    def read(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Levels (stop - start,), uint64 in [0, 2^bits - 1]. Each value is read once, in order: LevelsRefused."""
        if start != self._done or not start <= stop <= self._values.size:
            raise LevelsRefused(f"values {start} to {stop}: {self._done} of {self._values.size} were read; go on there")
        levels = np.empty(stop - start, dtype=np.uint64)
        for at, end, exponent in self._blocks(start, stop):
            levels[at - start : end - start] = self._round(self._values[at:end], exponent)
        self._done = stop
        return levels

    def _blocks(self, start: int, stop: int) -> Iterator[tuple[int, int, int]]:
        first = 0
        for segment in self._segments:
            low, high = max(start, first), min(stop, first + segment.length)
            for at in range(low, high, _BLOCK):
                yield at, min(at + _BLOCK, high), segment.exponent
            first += segment.length

    def _round(self, block: Floats, exponent: int) -> Floats:
        # Powers of two and the halving are exact: one product and one sum round.
        slope, middle = self._weight * 2.0**-exponent * (self._top / 2), self._top / 2
        with np.errstate(over="ignore"):  # an infinite place is clipped like any other
            place = block * slope
        place += middle
        if float(place.min()) < 0.0 or float(place.max()) > self._top:
            self._clipped += int(np.count_nonzero((place < 0.0) | (place > self._top)))
            np.clip(place, 0.0, self._top, out=place)
        # floor(place + u) would round u away where the place is large, so compare the fraction instead.
        floor = np.floor(place)
        place -= floor
        np.add(floor, self._uniforms(block.size) < place, out=floor)
        return floor


def quantise(
    values: Floats, segments: Sequence[Segment], bits: int, uniforms: Uniforms, weight: float = 1.0
) -> NDArray[np.uint64]:
    """All levels (n,) of a `Quantiser` at once."""
    return Quantiser(values, segments, bits, uniforms, weight).read(0, values.size)


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


def _check(values: Floats, segments: Sequence[Segment], bits: int, weight: float) -> None:
    if values.dtype != np.float64 or values.ndim != 1:
        raise LevelsRefused("values: must be a float64 array of one dimension")
    if isinstance(bits, bool) or not 1 <= bits <= MAX_BITS:
        raise LayoutRefused(f"bits {bits}: must be 1 to {MAX_BITS}")
    if not 0 < weight <= 1:
        raise ScaleRefused(f"weight {weight}: must be above 0 and at most 1")
    check_cover(segments, values.size)
    blocks = (values[at : at + _BLOCK] for at in range(0, values.size, _BLOCK))
    broken = values.size - sum(int(np.count_nonzero(np.isfinite(block))) for block in blocks)
    if broken:
        raise LevelsRefused(f"values: {broken} are not finite; the update must not be sealed")
