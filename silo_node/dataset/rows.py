"""Rows as a study gets them: the contract's columns, clamped, each row on its side of the split."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.study import DataRequirement, Unit
from silo_node.dataset.loaders import Table
from silo_node.dataset.schema import Schema, unmet
from silo_node.dataset.split import training_mask
from silo_node.errors import DatasetRefused


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Rows:
    """One dataset's rows for one study; only the runner's process ever holds them. The arrays are read-only.

    ``features`` float64 (n, d) in the contract's column order and units, clamped to the contract's ranges;
    ``target`` float64 (n,) of 0 and 1; ``is_training`` bool (n,), False where held out. n is private.
    """

    features: NDArray[np.float64]
    target: NDArray[np.float64]
    is_training: NDArray[np.bool_]

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


def rows_for(table: Table, requirement: DataRequirement, split_key: bytes, test_share: float) -> Rows:
    """The columns of ``requirement`` from ``table``, clamped to its ranges, and the side of each row."""
    features = table.matrix([column.name for column in requirement.features])
    low = np.array([column.minimum for column in requirement.features])
    high = np.array([column.maximum for column in requirement.features])
    rows = Rows(
        features=np.clip(features, low, high),
        target=table.matrix([requirement.target.name])[:, 0],
        is_training=training_mask(split_key, table.identities, test_share),
    )
    for array in (rows.features, rows.target, rows.is_training):
        array.setflags(write=False)
    return rows
