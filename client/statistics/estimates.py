"""A cell's components to estimates, each with its 95 % interval.

The components are exact sums plus independent noise of known variance v on each (protocol.statistics_study). Means are
in Fieller's interval (1954), which is exact for a ratio of two such sums; other smooth functions of the sums use the
delta method; quantiles are inverted from the distribution function (Woodruff, 1952). u is a column in [-1, 1].
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist
from typing import Final, Literal

from client.statistics.quantiles import quantile_interval
from client.statistics.survival import survival_curve
from protocol.clauses import Column
from protocol.questions import (
    AnyQuestion,
    Contingency,
    Correlation,
    Count,
    Histogram,
    Mean,
    Missing,
    Quantiles,
    Sum,
    Survival,
    Variance,
)

CONFIDENCE: Final = 0.95
Z: Final = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)

Known = Mapping[str, Column]
About = Literal["rows", "population"]
Told = tuple[str, About, "Estimate"]


@dataclass(frozen=True, slots=True)
class Noise:
    """The variance of what is added to each component of the total."""

    variance: float

    @property
    def deviation(self) -> float:
        return math.sqrt(self.variance)


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its 95 % interval, in the column's unit; ``value`` None where the noise drowned it."""

    value: float | None
    low: float
    high: float


def estimates_of(question: AnyQuestion, cell: Sequence[float], noise: Noise, columns: Known) -> Iterator[Told]:
    """What a cell's components tell: each number's name, what it is about, and the estimate."""
    match question:
        case Count() | Histogram() | Contingency():
            yield "count", "rows", around(cell[0], noise.deviation)
        case Sum():
            yield "sum", "rows", _sum(columns[question.column], cell, noise)
        case Mean():
            yield "mean", "rows", _mean(columns[question.column], cell, noise, 0.0)
        case Variance():
            yield from _spread(columns[question.column], cell, noise)
        case Quantiles():
            for probability in question.probabilities:
                found = quantile_interval(cell, question.edges, probability, noise.variance, Z)
                yield f"quantile {probability:g}", "population", Estimate(*found)
        case Correlation():
            yield from _correlations(question, cell, noise)
        case Missing():
            for name, present in zip(question.of, cell[1:], strict=True):
                yield name, "rows", _missing(present, cell[0], noise)
        case Survival():
            for edge, point in zip(question.edges[1:], survival_curve(cell, noise.variance, Z), strict=True):
                yield f"beyond {edge:g}", "population", Estimate(*point)


def around(value: float, deviation: float) -> Estimate:
    """A value with a normal error."""
    return Estimate(value, value - Z * deviation, value + Z * deviation)


def ratio_interval(total: float, count: float, noise: Noise, sampling: float) -> tuple[float, float]:
    """Fieller's interval of total / count, within [-1, 1]; all of it where the count can't be told from 0.

    sampling: the variance of the total around its expectation given the count.
    """
    square = Z * Z * noise.variance
    bend, middle = count * count - square, total * count
    outside = total * total - square - Z * Z * sampling
    root = middle * middle - bend * outside
    if bend <= 0 or count <= 0 or root < 0:
        return -1.0, 1.0
    reach = math.sqrt(root)
    return max(-1.0, (middle - reach) / bend), min(1.0, (middle + reach) / bend)


def _half_and_middle(column: Column) -> tuple[float, float]:
    half = (column.maximum - column.minimum) / 2
    return half, column.minimum + half


def _sum(column: Column, cell: Sequence[float], noise: Noise) -> Estimate:
    half, middle = _half_and_middle(column)
    return around(half * cell[1] + middle * cell[0], noise.deviation * math.hypot(half, middle))


def _mean(column: Column, cell: Sequence[float], noise: Noise, sampling: float) -> Estimate:
    half, middle = _half_and_middle(column)
    low, high = ratio_interval(cell[1], cell[0], noise, sampling)
    place = min(1.0, max(-1.0, cell[1] / cell[0]))
    return Estimate(middle + half * place, middle + half * low, middle + half * high)


def _missing(present: float, count: float, noise: Noise) -> Estimate:
    """The share of rows without a value."""
    low, high = ratio_interval(present, count, noise, 0.0)
    share = 1 - min(1.0, max(0.0, present / count))
    return Estimate(share, min(share, max(0.0, 1 - high)), max(share, min(1.0, 1 - low)))


def _spread(column: Column, cell: Sequence[float], noise: Noise) -> Iterator[Told]:
    """The mean with its sampling error, which the variance tells; the variance of the rows, by the delta method."""
    half, _ = _half_and_middle(column)
    count, first, second = cell[0], cell[1] / cell[0], cell[2] / cell[0]
    freedom = count / max(count - 1, 1.0)
    variance = min(1.0, max(0.0, second - first * first))
    slopes = (2 * first * first - second, -2 * first, 1.0)
    error = noise.deviation * math.hypot(*slopes) / count
    yield "mean", "population", _mean(column, cell, noise, count * (variance + Z * error))
    told = around(variance, error)
    scale = half * half * freedom
    yield "variance", "rows", Estimate(variance * scale, max(0.0, told.low) * scale, min(1.0, told.high) * scale)


def _correlations(question: Correlation, cell: Sequence[float], noise: Noise) -> Iterator[Told]:
    width, place = len(question.of), {}
    for number, pair in enumerate((i, j) for i in range(width) for j in range(i, width)):
        place[pair] = 1 + width + number
    for i, j in combinations(range(width), 2):
        sums = [cell[0], cell[1 + i], cell[1 + j], cell[place[i, i]], cell[place[j, j]], cell[place[i, j]]]
        yield f"{question.of[i]} and {question.of[j]}", "population", _correlation(sums, noise)


def _correlation(sums: list[float], noise: Noise) -> Estimate:
    """Pearson's r on Fisher's scale (1915): the sampling's variance is 1 / (n - 3), the noise's by the delta method."""
    value = _pearson(sums)
    if value is None:
        return Estimate(None, -1.0, 1.0)
    step = max(1e-6 * abs(sums[0]), 1e-6)
    slopes = []
    for number in range(len(sums)):
        ahead, behind = sums.copy(), sums.copy()
        ahead[number], behind[number] = sums[number] + step, sums[number] - step
        high, low = _pearson(ahead), _pearson(behind)
        if high is None or low is None:
            return Estimate(value, -1.0, 1.0)
        slopes.append((math.atanh(high) - math.atanh(low)) / (2 * step))
    error = math.sqrt(1 / max(sums[0] - 3, 1.0) + noise.variance * math.hypot(*slopes) ** 2)
    told = around(math.atanh(value), error)
    return Estimate(value, math.tanh(told.low), math.tanh(told.high))


def _pearson(sums: Sequence[float]) -> float | None:
    """None where the noise left no variance."""
    count, x, y, xx, yy, xy = sums
    spread = (xx - x * x / count) * (yy - y * y / count)
    if xx * count <= x * x or yy * count <= y * y or spread <= 0:
        return None
    return min(0.9999, max(-0.9999, (xy - x * y / count) / math.sqrt(spread)))
