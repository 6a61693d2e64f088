"""A dataset in numbers, for its owner's eyes only, and how far it has moved since it was registered.

Nothing of a profile is noised or published: it is private, as the rows are.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray

from protocol.ids import Strict
from silo_node.dataset.columns import DeclaredColumn
from silo_node.dataset.schema import Schema

if TYPE_CHECKING:
    from silo_node.dataset.table import Table

BINS: Final = 10
QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)
SHIFTED, CHANGED = 0.1, 0.25
"""Bounds of the population stability index by custom: below the first a column is as it was, above the other not."""


class ColumnProfile(Strict):
    """One declared column. ``missing`` and ``clamped`` count values; ``counts`` are of its categories, or of ten equal
    parts of its range.

    Minimum, maximum, mean and ``quantiles`` (at 5, 25, 50, 75 and 95 %) are of the values as they are computed with:
    clamped, and a declared value for those that are missing; None for a category.
    """

    name: str
    missing: int
    clamped: int
    minimum: float | None
    maximum: float | None
    mean: float | None
    quantiles: tuple[float, ...]
    counts: tuple[int, ...]


class Profile(Strict):
    """``rows`` are those that are computed with; ``left_out`` those of people who opted out."""

    rows: int
    left_out: int
    columns: tuple[ColumnProfile, ...]

    def __repr__(self) -> str:
        return "<Profile redacted>"

    def value(self) -> dict[str, Any]:
        return self.model_dump(mode="json")


def profile_of(table: "Table", schema: Schema) -> Profile:
    """The profile of ``table``, which holds all of the schema's columns."""
    columns = tuple(_column(table, column, values) for column, values in _parts(table, schema))
    return Profile(rows=table.rows, left_out=table.left_out, columns=columns)


def drift(before: ColumnProfile, now: ColumnProfile) -> float:
    """The population stability index of a column between two profiles: sum of (p - q) log(p / q) over its bins.

    Half a value is added to each count, so that an empty bin does not make it infinite.
    """
    p, q = (_shares(one.counts) for one in (now, before))
    return float(((p - q) * np.log(p / q)).sum())


def _shares(counts: tuple[int, ...]) -> NDArray[np.float64]:
    smoothed = np.array(counts, float) + 0.5
    shares: NDArray[np.float64] = smoothed / smoothed.sum()
    return shares


def _parts(table: "Table", schema: Schema) -> Iterator[tuple[DeclaredColumn, NDArray[np.float64]]]:
    at = 0
    for column in schema.columns:
        width = len(column.expanded())
        yield column, table.values[:, at : at + width]
        at += width


def _column(table: "Table", column: DeclaredColumn, values: NDArray[np.float64]) -> ColumnProfile:
    missing, clamped = table.missing[column.name], table.clamped[column.name]
    if column.categories is not None:
        counts = tuple(int(count) for count in values.sum(axis=0))
        return ColumnProfile(
            name=column.name,
            missing=missing,
            clamped=clamped,
            minimum=None,
            maximum=None,
            mean=None,
            quantiles=(),
            counts=counts,
        )
    edges = np.linspace(column.minimum, column.maximum, BINS + 1)
    return ColumnProfile(
        name=column.name,
        missing=missing,
        clamped=clamped,
        minimum=_short(values.min()) if values.size else None,
        maximum=_short(values.max()) if values.size else None,
        mean=_short(values.mean()) if values.size else None,
        quantiles=tuple(map(_short, np.quantile(values, QUANTILES))) if values.size else (),
        counts=tuple(int(count) for count in np.histogram(values, edges)[0]),
    )


def _short(value: np.float64) -> float:
    """Six digits: ten thousand columns have to fit one document."""
    return float(f"{value:.6g}")
