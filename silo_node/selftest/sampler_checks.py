"""Poisson sampling: each row is in a batch by a coin of its own, at the charged rate, whatever was drawn before."""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from silo_node.selftest.chance import farthest_correlation, farthest_distribution, log_binomial, most_surprise, surprise
from silo_node.selftest.effort import Effort
from silo_node.selftest.engine import Engine
from silo_node.selftest.measured import ALARM, Measured
from silo_node.training.rows import TrainingRows

Masks = NDArray[np.float64]

_ROWS: Final = 150
_RATES: Final = (0.04, 0.5)


def sampler_figures(engine: Engine, effort: Effort) -> Iterator[Measured]:
    """For a small rate and a large one: how often rows are in, how large batches are, and what they tell of others."""
    for rate in _RATES:
        masks = _drawn(engine, effort.samples, rate)
        yield from _rates(masks, rate)
        yield _sizes(masks, rate)
        yield _independence(masks, rate)


def _drawn(engine: Engine, samples: int, rate: float) -> Masks:
    """(samples, rows) of 0 and 1, from batches of rows that say which they are, in their features and targets."""
    names = np.arange(_ROWS, dtype=np.float64)
    rows = TrainingRows(names[:, None], names)
    masks = np.zeros((samples, _ROWS))
    for mask in masks:
        features, target = engine.sampled(rows, rate, engine.noise)
        if not np.array_equal(features[:, 0], target):
            raise ValueError("a batch pairs rows with other rows' targets")
        np.add.at(mask, target.astype(np.int64), 1.0)
    return masks


def _rates(masks: Masks, rate: float) -> Iterator[Measured]:
    samples, rows = masks.shape
    told = surprise(_share(masks), rate, masks.size)
    high = most_surprise(1)
    yield _figure(f"rate {rate:g}: inclusion, nats of surprise", told, high)
    worst = max(surprise(float(share), rate, samples) for share in np.minimum(masks.mean(axis=0), 1.0))
    yield _figure(f"rate {rate:g}: oddest row, nats of surprise", worst, most_surprise(rows))


def _share(masks: Masks) -> float:
    return float(min(1.0, masks.mean()))


def _sizes(masks: Masks, rate: float) -> Measured:
    """The distance of the batches' sizes from the binomial distribution."""
    samples, rows = masks.shape
    seen = np.bincount(masks.sum(axis=1).astype(np.int64), minlength=rows + 1)[: rows + 1]
    expected = np.exp(log_binomial(rows, rate))
    distance = float(np.max(np.abs(np.cumsum(seen) / samples - np.cumsum(expected))))
    return _figure(f"rate {rate:g}: distance of batch sizes", distance, farthest_distribution(samples))


def _independence(masks: Masks, rate: float) -> Measured:
    """Correlation times the root of the pairs: of a row in two batches, of two rows in one, and of batch sizes."""
    spread = masks - rate
    scale = rate * (1 - rate)
    batches = _sigma(spread[1:] * spread[:-1], scale)
    neighbours = _sigma(spread[:, 1:] * spread[:, :-1], scale)
    sizes = spread.sum(axis=1)
    lasting = _sigma(sizes[1:] * sizes[:-1], scale * masks.shape[1])
    figure = max(batches, neighbours, lasting)
    return _figure(f"rate {rate:g}: largest correlation, in sigma", figure, farthest_correlation(3))


def _sigma(products: Masks, scale: float) -> float:
    return abs(float(products.sum())) / (scale * math.sqrt(products.size))


def _figure(what: str, figure: float, high: float) -> Measured:
    known = figure if math.isfinite(figure) else None
    return Measured(check="sampler", what=what, figure=known, low=None, high=high, alarm=ALARM)
