"""Rows as a study gets them: the contract's columns, clamped, each row on its side of the split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.clauses import Unit
from protocol.training_study import DataRequirement
from silo_node.dataset.schema import Schema, unmet
from silo_node.dataset.split import training_mask
from silo_node.dataset.table import Table
from silo_node.errors import DatasetRefused


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rows:
    """One dataset's rows for one study; only the runner's process ever holds them. The arrays are read-only.

    ``features`` float64 (n, d) in the contract's column order and units, clamped to the contract's ranges;
    ``target`` float64 (n,) of 0 and 1; ``is_training`` bool (n,), False where held out. n is private. ``left_out``
    counts the rows of people who opted out, which are in none of the arrays.
    """

    features: NDArray[np.float64]
    target: NDArray[np.float64]
    is_training: NDArray[np.bool_]
    left_out: int = 0

    def __repr__(self) -> str:
        return "<Rows redacted>"


def check_requirement(schema: Schema, requirement: DataRequirement, dataset: str) -> None:
    """Raises ``DatasetRefused`` with every reason why ``schema`` does not cover ``requirement``."""
    reasons = unmet(schema, requirement)
    if reasons:
        raise DatasetRefused(f"dataset {dataset} does not cover the contract: {'; '.join(reasons[:20])}")


def check_unit(schema: Schema, unit: Unit, repeated_row: int | None) -> None:
    """Raises ``DatasetRefused`` unless one row is one ``unit``: several rows of a subject need grouped sampling."""
    if unit == "record":
        return
    if schema.subject is None:
        raise DatasetRefused(
            "unit subject needs a column that names the subject: declare one as subject in the schema, "
            "or register the dataset with unit record"
        )
    if repeated_row is not None:
        raise DatasetRefused(
            f"unit subject protects all rows of a person at once, and in this release that takes at most one row a "
            f"subject; column {schema.subject} names in row {repeated_row} a subject that has a row above: keep "
            "one row a subject, or register the dataset with unit record, which protects single rows only"
        )


def needed_columns(requirement: DataRequirement) -> tuple[str, ...]:
    """The columns that rows are made of: the features in order, then the target."""
    return (*(column.name for column in requirement.features), requirement.target.name)


def rows_for(table: Table, requirement: DataRequirement, test_share: float) -> Rows:
    """The rows of ``table``, which holds ``needed_columns`` in order, clamped to the contract's ranges in place."""
    features = table.values[:, :-1]
    low = np.array([column.minimum for column in requirement.features])
    high = np.array([column.maximum for column in requirement.features])
    np.clip(features, low, high, out=features)  # All at once: a column at a time would fetch every row anew for each.
    rows = Rows(
        features=features,
        target=table.values[:, -1].copy(),
        is_training=training_mask(table.tags, test_share),
        left_out=table.left_out,
    )
    for array in (rows.features, rows.target, rows.is_training):
        array.setflags(write=False)
    return rows
