"""What a silo's rows add to each question: exact sums of whole numbers, before any noise.

A contribution in [-1, 1] becomes a multiple of 2^-20, rounded to the nearest; so one row's contributions to a question
have at most as many of these grains as the question's sensitivity has, and sums are exact in int64.
"""

import math
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.clauses import Column
from protocol.questions import (
    AnyQuestion,
    Axis,
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

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

GRAINS: Final = 1 << 20
"""Grains in a contribution of 1."""

_NOWHERE: Final = -1


class Rows:
    """Values (n, d) of ``columns``, in their order, in range or NaN where missing."""

    def __init__(self, columns: Sequence[Column], values: Floats) -> None:
        self._columns = {column.name: column for column in columns}
        self._values = {column.name: values[:, place] for place, column in enumerate(columns)}
        self.count = len(values)

    def column(self, name: str) -> Floats:
        return self._values[name]

    def grains(self, name: str) -> Integers:
        """u of the column in grains, (n,): its range mapped to [-GRAINS, GRAINS]; 0 where it is missing."""
        column, values = self._columns[name], self._values[name]
        half = (column.maximum - column.minimum) / 2
        places = np.rint((values - column.minimum - half) / half * GRAINS)
        grains: Integers = np.clip(np.nan_to_num(places), -GRAINS, GRAINS).astype(np.int64)
        return grains

    def complete(self, names: Sequence[str]) -> NDArray[np.bool_]:
        """Which rows have a value in all of these columns (n,)."""
        whole = np.ones(self.count, dtype=np.bool_)
        for name in names:
            whole &= ~np.isnan(self._values[name])
        return whole


def sensitivity_of(question: AnyQuestion) -> int:
    """The question's L2 sensitivity in grains, rounded up."""
    return math.isqrt(question.squared_sensitivity * GRAINS * GRAINS - 1) + 1


def sums_of(question: AnyQuestion, rows: Rows) -> Integers:
    """The exact sums (values,) of a question, cell after cell, in grains."""
    cell = cells_of(question.axes, rows)
    cell[~rows.complete(question.needed)] = _NOWHERE
    sums = np.zeros(question.values, dtype=np.int64)
    inside = cell != _NOWHERE
    for component, grains in _components(question, rows):
        # A component below 0 is none: the row adds nothing.
        where = inside & (component >= 0)
        np.add.at(sums, cell[where] * question.components + component[where], grains[where])
    return sums


def cells_of(axes: Sequence[Axis], rows: Rows) -> Integers:
    """The cell of each row (n,), the last axis running fastest; -1 where it is on no level of an axis."""
    cell = np.zeros(rows.count, dtype=np.int64)
    for axis in axes:
        level = _level(axis, rows)
        cell = np.where((cell == _NOWHERE) | (level == _NOWHERE), _NOWHERE, cell * len(axis.levels) + level)
    return cell


def bins_of(values: Floats, edges: Sequence[float]) -> Integers:
    """The bin of each value (n,): its lower edge is in it, the last upper edge too; -1 outside and where missing."""
    places = np.searchsorted(np.asarray(edges), values, side="right").astype(np.int64) - 1
    places[values == edges[-1]] = len(edges) - 2
    places[np.isnan(values) | (values < edges[0]) | (values > edges[-1])] = _NOWHERE
    return places


def _level(axis: Axis, rows: Rows) -> Integers:
    if axis.edges is not None:
        return bins_of(rows.column(axis.columns[0]), axis.edges)
    if len(axis.columns) == 1:
        values = rows.column(axis.columns[0])
        return np.where(np.isnan(values), _NOWHERE, values > 0.5).astype(np.int64)
    ones = np.column_stack([rows.column(name) > 0.5 for name in axis.columns])
    return np.where(ones.sum(axis=1) == 1, ones.argmax(axis=1), _NOWHERE).astype(np.int64)


def _components(question: AnyQuestion, rows: Rows) -> Iterator[tuple[Integers, Integers]]:
    """What each row adds: the components (n,) and grains (n,)."""
    whole = np.full(rows.count, GRAINS, dtype=np.int64)

    def at(component: int) -> Integers:
        return np.full(rows.count, component, dtype=np.int64)

    match question:
        case Count() | Histogram() | Contingency():
            yield at(0), whole
        case Sum() | Mean():
            yield from ((at(0), whole), (at(1), rows.grains(question.column)))
        case Variance():
            u = rows.grains(question.column)
            yield from ((at(0), whole), (at(1), u), (at(2), _product(u, u)))
        case Quantiles():
            yield bins_of(rows.column(question.column), question.edges), whole
        case Correlation():
            us = [rows.grains(name) for name in question.of]
            products = [_product(one, other) for place, one in enumerate(us) for other in us[place:]]
            yield from ((at(place), grains) for place, grains in enumerate([whole, *us, *products]))
        case Missing():
            yield at(0), whole
            for place, name in enumerate(question.of, start=1):
                yield at(place), np.where(rows.complete((name,)), GRAINS, 0)
        case Survival():
            yield _ends_of(question, rows), whole


def _product(one: Integers, other: Integers) -> Integers:
    """The product of two contributions in grains, rounded toward 0: at most GRAINS in size."""
    grains: Integers = np.sign(one) * np.sign(other) * (np.abs(one) * np.abs(other) // GRAINS)
    return grains


def _ends_of(question: Survival, rows: Rows) -> Integers:
    """The component of each row (n,): its bin where the event came, after those its bin where it was censored."""
    time, bins = rows.column(question.time), len(question.edges) - 1
    place = bins_of(time, question.edges)
    ended = place + np.where(rows.column(question.event) > 0.5, 0, bins)
    beyond = np.where(time > question.edges[-1], 2 * bins, _NOWHERE)
    return np.where(place == _NOWHERE, beyond, ended)
