"""Floats to levels: stochastic rounding on a fixed grid (sealed-sum.md, Encoding, step 2).

    q = stochastic_round((x / 2^e + 1) / 2 * (2^b - 1)), clipped to [0, 2^b - 1]

The expectation of a level is its value's exact place on the grid, so errors average out over silos and rounds.
Weights, exponents and bits are fixed before the round and come from outside; what is out of range is clipped and
counted. Rounding is done after any noise was added: the levels and the count are post-processing and cost no privacy.
"""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from numpy.typing import NDArray

from protocol.sealing.decode import Floats, Segment, check_cover, runs_within
from protocol.sealing.errors import LayoutRefused, LevelsRefused, ScaleRefused

Uniforms = Callable[[int], NDArray[np.float64]]
"""count -> that many float64 in [0, 1)."""

Source = Callable[[int], Floats]
"""count -> the next that many values of a vector."""

MAX_BITS: Final = 46
KEY_BYTES: Final = 32
_BLOCK: Final = 1 << 14  # a block's intermediate arrays stay in the processor's cache


class Quantiser:
    """Levels of weight times the values, float64, run after run, so that a long vector streams.

    source:   gives the next so many values of the vector; asked for each once, in order, until all are read.
    segments: runs of values with their power-of-two scales; together they are as long as the vector.
    uniforms: the source of randomness; `cryptographic_uniforms` in production.
    weight:   the silo's share, in (0, 1].

    Raises ScaleRefused on a weight that doesn't fit, LayoutRefused on the bits, both before a value is asked for.
    """

    def __init__(
        self, source: Source, segments: Sequence[Segment], bits: int, uniforms: Uniforms, weight: float = 1.0
    ) -> None:
        if isinstance(bits, bool) or not 1 <= bits <= MAX_BITS:
            raise LayoutRefused(f"bits {bits}: must be 1 to {MAX_BITS}")
        if not 0 < weight <= 1:
            raise ScaleRefused(f"weight {weight}: must be above 0 and at most 1")
        self._source, self._segments, self._uniforms, self._weight = source, tuple(segments), uniforms, weight
        self._values = sum(segment.length for segment in self._segments)
        self._top = float((1 << bits) - 1)
        self._done = 0
        self._clipped = 0

    @property
    def values(self) -> int:
        """How many values the vector has."""
        return self._values

    @property
    def clipped(self) -> int:
        """How many of the values read so far were out of range."""
        return self._clipped

    def read(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Levels (stop - start,), uint64 in [0, 2^bits - 1]. Each value is read once, in order: LevelsRefused.

        So is a value that is not finite; how many are is told, no value.
        """
        if start != self._done or not start <= stop <= self._values:
            raise LevelsRefused(f"values {start} to {stop}: {self._done} of {self._values} were read; go on there")
        levels = np.empty(stop - start, dtype=np.uint64)
        for place, first, end in runs_within(self._segments, start, stop):
            for at in range(first, end, _BLOCK):
                block = _checked(self._source(min(_BLOCK, end - at)), min(_BLOCK, end - at))
                levels[at - start : at - start + block.size] = self._round(block, self._segments[place].exponent)
        self._done = stop
        return levels

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
    """All levels (n,) of values (n,) that are held whole."""
    check_cover(segments, values.size)
    return Quantiser(source_of(values), segments, bits, uniforms, weight).read(0, values.size)


def source_of(values: Floats) -> Source:
    """The values (n,) of an array, the next ones at each call."""
    done = 0

    def take(count: int) -> Floats:
        nonlocal done
        done += count
        return values[done - count : done]

    return take


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


def _checked(block: Floats, wanted: int) -> Floats:
    if block.dtype != np.float64 or block.shape != (wanted,):
        raise LevelsRefused("values: must be a float64 array of one dimension, as long as the segments")
    broken = wanted - int(np.count_nonzero(np.isfinite(block)))
    if broken:
        raise LevelsRefused(f"values: {broken} of a block are not finite; the update must not be sealed")
    return block
