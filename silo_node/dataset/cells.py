"""Cells of a source as the numbers that they are declared to be."""

import math
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from silo_node.dataset.columns import DeclaredColumn
from silo_node.dataset.problems import Problems

_TRUTH: Final = {"true": "1", "false": "0"}

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class CellReader:
    """Turns a column's cells into numbers; what is wrong with them is noted in ``problems``.

    With ``gaps`` a missing value becomes NaN, where its column allows missing ones; else what is declared for it.
    """

    problems: Problems
    gaps: bool = False

    def read(self, series: pl.Series, column: DeclaredColumn, before: int) -> tuple[Floats, int]:
        """The columns that ``column`` becomes, float64 (n, k), and how many of its values are missing.

        ``before`` is the number of rows that came before. Numbers are not clamped yet.
        """
        if column.kind == "image":
            return self._pixels(series, column), 0
        if column.kind == "category":
            return self._categories(series, column, before)
        return self._numbers(series, column, before)

    def _numbers(self, series: pl.Series, column: DeclaredColumn, before: int) -> tuple[Floats, int]:
        if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean, pl.Null)):
            self.problems.note_column(
                column.name, f"column {column.name} holds values of type {series.dtype}, not numbers"
            )
            return np.zeros((len(series), 1)), 0
        plain = _plain(series)
        if plain is not None and _fits(plain, column):
            return plain, 0
        missing, values = _parsed(series, binary=column.kind == "binary")
        finite = values.is_finite().fill_null(True)
        self._note(column, "a text where a number belongs", values.is_null() & ~missing, before)
        self._note(column, "a value that is not finite", ~finite, before)
        self._note_missing(column, missing, before)
        if column.kind == "binary":
            other = ~values.is_in([0.0, 1.0]).fill_null(True) & finite
            self._note(column, "a value that is neither 0 nor 1", other, before)
        if column.kind == "integer":
            self._note(column, "a value that is no whole number", (values != values.floor()).fill_null(False), before)
        stand_in = math.nan if self.gaps else column.missing
        filled = values.fill_null(stand_in if isinstance(stand_in, float) else 0.0)
        return filled.to_numpy().astype(np.float64, copy=False).reshape(-1, 1), int(missing.sum())

    def _categories(self, series: pl.Series, column: DeclaredColumn, before: int) -> tuple[Floats, int]:
        values = column.categories or ()
        if not (series.dtype.is_integer() or series.dtype in (pl.String, pl.Categorical, pl.Null) or _is_enum(series)):
            said = f"column {column.name} holds values of type {series.dtype}, not texts or integers"
            self.problems.note_column(column.name, said)
            return np.zeros((len(series), len(values))), 0
        text = series.cast(pl.String).str.strip_chars()
        missing = text.is_null() | (text == "").fill_null(False)
        self._note_missing(column, missing, before)
        self._note(column, "a value that is no declared category", ~text.is_in(list(values)) & ~missing, before)
        if isinstance(column.missing, str) and not self.gaps:
            text = text.set(missing, column.missing)
        columns = [(text == value).fill_null(False).cast(pl.Float64).to_numpy() for value in values]
        cells = np.column_stack(columns)
        if self.gaps:
            cells[missing.to_numpy()] = np.nan
        return cells, int(missing.sum())

    def _pixels(self, series: pl.Series, column: DeclaredColumn) -> Floats:
        wanted = column.image.values if column.image else 0
        if series.dtype != pl.Array(pl.UInt8, wanted):
            said = f"column {column.name} is declared image: it needs a source of kind images"
            self.problems.note_column(column.name, said)
            return np.zeros((len(series), wanted))
        return series.to_numpy().astype(np.float64).reshape(-1, wanted) / 255.0

    def _note_missing(self, column: DeclaredColumn, missing: pl.Series, before: int) -> None:
        if column.missing is None:
            self._note(column, "a missing value", missing, before)

    def _note(self, column: DeclaredColumn, what: str, where: pl.Series, before: int) -> None:
        self.problems.note(column.name, what, where, before)


def _plain(series: pl.Series) -> Floats | None:
    """Numbers of which none is missing or infinite, as most are: without a look at each. Else None."""
    if not series.dtype.is_numeric() or series.null_count():
        return None
    values = series.cast(pl.Float64).to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):
        return values.reshape(-1, 1) if np.isfinite(values.sum()) else None


def _fits(values: Floats, column: DeclaredColumn) -> bool:
    """Whether finite values are all of the column's kind."""
    if column.kind == "binary":
        return bool(((values == 0.0) | (values == 1.0)).all())
    return column.kind != "integer" or bool((values == np.floor(values)).all())


def _parsed(series: pl.Series, binary: bool) -> tuple[pl.Series, pl.Series]:
    """Which values are missing, and all as numbers, null where one is missing or none."""
    if series.dtype != pl.String:
        return series.is_null(), series.cast(pl.Float64, strict=False)
    text = series.str.strip_chars()
    missing = text.is_null() | (text == "").fill_null(False)
    if binary:
        text = text.str.to_lowercase().replace(_TRUTH)
    return missing, text.cast(pl.Float64, strict=False)


def _is_enum(series: pl.Series) -> bool:
    return isinstance(series.dtype, pl.Enum)
