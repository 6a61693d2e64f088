"""What noised histograms of scores tell of a model: accuracy, AUC, ROC, calibration, rates by group, with intervals.

A held-out row falls into one cell of a joint partition (group x label x bin of the score), so adding or removing it
moves one count by 1: one charge pays for everything here, which is post-processing. Every figure is a smooth function
of the counts, and its variance follows by the delta method: each count carries the noise of all silos (and the
rounding of the sealed sum), and as the rows are a sample, a Poisson variance of its own size. For an AUC that is the
first-order variance of Mann and Whitney's statistic; for a rate it is p (1 - p) / n.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Figure = Callable[[Floats], float]
"""A figure of the counts (arms, groups, 2, bins)."""
Groups = tuple[int, ...] | None
"""Which groups, by place; None: all."""

CONFIDENCE_Z: Final = 1.959964
"""Of a two-sided interval of 95 %."""
LARGEST_ERROR: Final = 0.1
"""A figure with a larger standard error is not told: it may be noise alone."""
_STEP: Final = 1e-4


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure with its standard error; the interval is of 95 %, cut to where the figure can be."""

    value: float
    standard_error: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Difference:
    """One figure less another on other rows, and how often chance alone would show as much (two-sided)."""

    estimate: Estimate
    p_value: float


@dataclass(frozen=True, slots=True)
class Scores:
    """Noised counts of held-out rows.

    counts: float64 (arms, groups, 2, bins): by model, group, label (0, 1) and bin of the score, lowest first; they may
    be below 0. edges: probabilities between bins (bins - 1,), increasing. noise_variance: of one count, all silos'.
    """

    counts: Floats
    edges: tuple[float, ...]
    noise_variance: float

    def __post_init__(self) -> None:
        if self.counts.ndim != 4 or self.counts.shape[2:] != (2, len(self.edges) + 1):
            raise ValueError(f"scores: counts (arms, groups, 2, {len(self.edges) + 1}) are needed")

    def rows(self, arm: int = 0, groups: Groups = None) -> float:
        """The noised number of rows."""
        return float(_cells(self.counts, arm, groups).sum())

    def cut(self, threshold: float) -> int:
        """How many bins lie below a threshold. Raises ValueError unless it is an edge."""
        for place, edge in enumerate(self.edges):
            if math.isclose(edge, threshold, rel_tol=0, abs_tol=1e-9):
                return place + 1
        raise ValueError(f"threshold {threshold:g} is no edge between bins; take one of {self.edges}")

    def accuracy(self, threshold: float = 0.5, arm: int = 0, groups: Groups = None) -> Estimate | None:
        """The share of rows on the right side of the threshold."""
        cut = self.cut(threshold)

        def right(counts: Floats) -> float:
            cells = _cells(counts, arm, groups)
            return _ratio(cells[0, :cut].sum() + cells[1, cut:].sum(), cells.sum())

        return self.estimate(right)

    def auc(self, arm: int = 0, groups: Groups = None) -> Estimate | None:
        """The chance that a row of label 1 scores above one of label 0, ties in a bin counting half."""
        return self.estimate(_auc(arm, groups))

    def positive_rate(self, threshold: float = 0.5, arm: int = 0, groups: Groups = None) -> Estimate | None:
        """The share of rows that score above the threshold."""
        return self.estimate(_rate((0, 1), self.cut(threshold), arm, groups))

    def true_positive_rate(self, threshold: float = 0.5, arm: int = 0, groups: Groups = None) -> Estimate | None:
        """The same among rows of label 1."""
        return self.estimate(_rate((1,), self.cut(threshold), arm, groups))

    def false_positive_rate(self, threshold: float = 0.5, arm: int = 0, groups: Groups = None) -> Estimate | None:
        """The same among rows of label 0."""
        return self.estimate(_rate((0,), self.cut(threshold), arm, groups))

    def calibration(self, arm: int = 0, groups: Groups = None) -> tuple[Estimate | None, ...]:
        """The share of label 1 in each bin, lowest first; None where the noise drowned the bin."""

        def observed(place: int) -> Figure:
            def share(counts: Floats) -> float:
                cells = _cells(counts, arm, groups)[:, place]
                return _ratio(cells[1], cells.sum())

            return share

        return tuple(self.estimate(observed(place)) for place in range(len(self.edges) + 1))

    def equal_opportunity(self, group: int, threshold: float = 0.5, arm: int = 0) -> Difference | None:
        """A group's true positive rate less that of all other rows: 0 is equal opportunity (Hardt et al., 2016)."""
        cut, others = self.cut(threshold), self._others(group)
        return self.difference(_rate((1,), cut, arm, (group,)), _rate((1,), cut, arm, others))

    def demographic_parity(self, group: int, threshold: float = 0.5, arm: int = 0) -> Difference | None:
        """A group's rate of positive predictions less that of all other rows."""
        cut, others = self.cut(threshold), self._others(group)
        return self.difference(_rate((0, 1), cut, arm, (group,)), _rate((0, 1), cut, arm, others))

    def second_less_first(self) -> Difference | None:
        """The second model's AUC less the first's, each on rows of its own. Raises ValueError for one model."""
        if self.counts.shape[0] != 2:
            raise ValueError("scores: a comparison needs the counts of two models")
        return self.difference(_auc(1, None), _auc(0, None))

    def estimate(self, figure: Figure, low: float = 0.0, high: float = 1.0) -> Estimate | None:
        """A figure with its error; None where the noise drowned the rows that it rests on."""
        value = figure(self.counts)
        variance = self.noise_variance + np.maximum(self.counts, 0.0)
        error = math.sqrt(float((self._gradient(figure) ** 2 * variance).sum()))
        if not math.isfinite(value + error) or error > LARGEST_ERROR:
            return None
        value = min(max(value, low), high)
        reach = CONFIDENCE_Z * error
        return Estimate(value, error, max(low, value - reach), min(high, value + reach))

    def difference(self, figure: Figure, less: Figure) -> Difference | None:
        """figure - less, and the p-value of the hypothesis that they are equal (Wald)."""
        found = self.estimate(lambda counts: figure(counts) - less(counts), -1.0, 1.0)
        if found is None:
            return None
        z = abs(found.value) / found.standard_error if found.standard_error else math.inf
        return Difference(found, math.erfc(z / math.sqrt(2)))

    def _others(self, group: int) -> tuple[int, ...]:
        return tuple(one for one in range(self.counts.shape[1]) if one != group)

    def _gradient(self, figure: Figure) -> Floats:
        """By central differences; figures are ratios of sums, whose third derivatives are tiny at this step."""
        gradient = np.zeros_like(self.counts)
        moved = self.counts.copy()
        for place in np.ndindex(self.counts.shape):
            step = _STEP * max(1.0, abs(float(self.counts[place])))
            moved[place] = self.counts[place] + step
            above = figure(moved)
            moved[place] = self.counts[place] - step
            gradient[place] = (above - figure(moved)) / (2 * step)
            moved[place] = self.counts[place]
        return gradient


def _cells(counts: Floats, arm: int, groups: Groups) -> Floats:
    """Of one model, over these groups (None: all): (2, bins)."""
    chosen = counts[arm] if groups is None else counts[arm, list(groups)]
    cells: Floats = chosen.sum(axis=0)
    return cells


def _ratio(part: float, whole: float) -> float:
    """NaN where there is less than a row to divide by."""
    return float(part / whole) if whole >= 1.0 else math.nan


def _rate(labels: tuple[int, ...], cut: int, arm: int, groups: Groups) -> Figure:
    """The share of rows of these labels that score at or above bin ``cut``."""

    def share(counts: Floats) -> float:
        cells = _cells(counts, arm, groups)[list(labels)].sum(axis=0)
        return _ratio(cells[cut:].sum(), cells.sum())

    return share


def _auc(arm: int, groups: Groups) -> Figure:
    def area(counts: Floats) -> float:
        negative, positive = _cells(counts, arm, groups)
        below = np.cumsum(negative) - negative / 2
        pairs = float(negative.sum() * positive.sum())
        return _ratio(float((positive * below).sum()), pairs) if min(negative.sum(), positive.sum()) >= 1 else math.nan

    return area
