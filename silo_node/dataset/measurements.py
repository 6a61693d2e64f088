"""Values as a statistics study gets them: its columns, clamped, and a gap wherever a value is missing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.clauses import Column
from silo_node.dataset.schema import Schema, unmet_columns
from silo_node.dataset.table import Table
from silo_node.errors import DatasetRefused


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Measurements:
    """One dataset's rows for one study; only the runner's process ever holds them.

    ``values`` float64 (n, d) in the order of the contract's columns and in their units, clamped to their ranges; NaN
    where a value is missing. Read-only. n is private. ``left_out`` counts the rows of people who opted out.
    """

    values: NDArray[np.float64]
    left_out: int = 0

    def __repr__(self) -> str:
        return "<Measurements redacted>"


def check_columns(schema: Schema, columns: Sequence[Column], dataset: str) -> None:
    """Raises ``DatasetRefused`` with every reason why ``schema`` does not cover ``columns``."""
    reasons = unmet_columns(schema, columns)
    if reasons:
        raise DatasetRefused(f"dataset {dataset} does not cover the contract: {'; '.join(reasons[:20])}")


def measurements_for(table: Table, columns: Sequence[Column]) -> Measurements:
    """The rows of ``table``, which holds ``columns`` in order, clamped to the contract's ranges in place."""
    low = np.array([column.minimum for column in columns])
    high = np.array([column.maximum for column in columns])
    values = table.values
    np.clip(values, low, high, out=values)
    values.setflags(write=False)
    return Measurements(values, table.left_out)
