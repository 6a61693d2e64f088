"""Totals back to floats, and the scale exponents of the next round. Pure, and the same bits at every silo.

Only elementwise IEEE operations on float64 are used: no reduction whose order a library chooses, no
transcendental function. Every silo therefore computes the same next model from the same totals.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.errors import ScaleRefused
from protocol.sealing.packing import Levels
from protocol.sealing.parameters import Part

Floats = NDArray[np.float64]

MIN_EXPONENT: Final = -126
MAX_EXPONENT: Final = 126
MAX_STEP: Final = 2


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of values (one tensor) with one power-of-two scale: levels cover [-2^exponent, 2^exponent].

    Raises ScaleRefused for a length below 1 or an exponent outside -126 to 126.
    """

    length: int
    exponent: int

    def __post_init__(self) -> None:
        if self.length < 1:
            raise ScaleRefused(f"segment length {self.length}: must be at least 1")
        check_exponent(self.exponent)


def check_exponent(exponent: int) -> None:
    """Raises ScaleRefused for an exponent outside -126 to 126."""
    if isinstance(exponent, bool) or not MIN_EXPONENT <= exponent <= MAX_EXPONENT:
        raise ScaleRefused(f"exponent {exponent}: must be from {MIN_EXPONENT} to {MAX_EXPONENT}")


def check_cover(segments: Sequence[Segment], values: int) -> None:
    """Raises ScaleRefused unless the segments are exactly `values` long together."""
    covered = sum(segment.length for segment in segments)
    if covered != values:
        raise ScaleRefused(f"segments: cover {covered} values, the vector has {values}")


def dequantise(totals: Levels, part: Part, survivors: int, segments: Sequence[Segment]) -> Floats:
    """The sum of the survivors' scaled values (values,), float64, in the unit of the values, of a part or a run of it.

    A level is q = (x / 2^e + 1) / 2 * (2^b - 1), so a sum of n of them gives (2 total / (2^b - 1) - n) 2^e. The
    numerator is a whole number below 2^48 and exact, and one division rounds.
    Raises ScaleRefused when the segments don't cover the totals.
    """
    check_cover(segments, totals.size)
    sums = totals.view(np.int64).astype(np.float64)  # the same numbers, which NumPy converts faster when signed
    sums *= 2
    sums -= survivors * part.level_max
    sums /= part.level_max
    start = 0
    for segment in segments:
        sums[start : start + segment.length] *= 2.0**segment.exponent
        start += segment.length
    return sums


def weighted_mean(sums: Floats, weight: float, limit: float) -> Floats:
    """Sums divided by the survivors' weight and clipped to [-limit, limit], the legal range of a value.

    Raises ScaleRefused unless weight and limit are finite and positive.
    """
    for name, value in (("weight", weight), ("limit", limit)):
        if not (math.isfinite(value) and value > 0):
            raise ScaleRefused(f"{name} {value}: must be finite and positive")
    return np.clip(sums / weight, -limit, limit)


def next_exponent(last: int, max_abs_total: float) -> int:
    """ceil(log2(2 max|total|)), no more than 2 from the last exponent and never outside the bounds.

    The step is bounded because the total is poisonable: one silo that inflates it may coarsen everybody's next
    round by two bits, not by ten. `frexp` gives the logarithm exactly.
    Raises ScaleRefused when the maximum is negative or not finite.
    """
    check_exponent(last)
    if not (math.isfinite(max_abs_total) and max_abs_total >= 0):
        raise ScaleRefused("largest total: must be finite and not negative")
    wanted = MIN_EXPONENT
    if max_abs_total > 0:
        fraction, power = math.frexp(max_abs_total)  # in [0.5, 1) times 2^power
        wanted = power + (0 if fraction == 0.5 else 1)
    stepped = min(max(wanted, last - MAX_STEP), last + MAX_STEP)
    return min(max(stepped, MIN_EXPONENT), MAX_EXPONENT)


def runs_within(segments: Sequence[Segment], start: int, stop: int) -> Iterator[tuple[int, int, int]]:
    """Where the values `start` to `stop` of a vector lie: the segment's place, the run's first value and its end."""
    first = 0
    for place, segment in enumerate(segments):
        low, high = max(start, first), min(stop, first + segment.length)
        if low < high:
            yield place, low, high
        first += segment.length
