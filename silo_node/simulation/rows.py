"""The rows that a simulation trains on: mock ones, or those of a file of public data. Never a registered dataset."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import polars
from numpy.typing import NDArray

from protocol.mock import mock_rows
from protocol.simulation import FileSource, MockSource, SimulatedSilo, SplitSource
from protocol.study import StudyContract
from protocol.training_study import TrainingContract
from silo_node.errors import DatasetRefused
from silo_node.training.rows import TrainingRows

Floats = NDArray[np.float64]

MAX_FILE_BYTES: Final = 2**30
_SHUFFLE_SEED: Final = 2
_SPLIT_SEED: Final = 1
"""A simulation's split is no secret: its rows are not. A real one is by a keyed hash of who a row is about."""


@dataclass(frozen=True, slots=True, eq=False)
class SiloRows:
    """A silo's rows on both sides of the split, in the contract's column order."""

    training: TrainingRows
    held_out: TrainingRows


def rows_of(contract: TrainingContract, one: SimulatedSilo) -> SiloRows:
    """As many rows as the contract says that the silo published, split by its test share.

    Raises ``DatasetRefused`` or ``Malformed`` where the source doesn't hold the contract's columns.
    """
    return split(contract, training_values(contract, one), _SPLIT_SEED)


def training_values(contract: TrainingContract, one: SimulatedSilo) -> Floats:
    """The rows (n, d + 1) before they are split, the target last; raises as ``rows_of`` does."""
    values = values_of(contract, one)
    target = contract.data.target.name
    if not bool(np.isin(values[:, -1], (0.0, 1.0)).all()):
        raise DatasetRefused(f"silo {one.silo}: the target {target} must be 0 or 1 in every row")
    return values


def values_of(contract: StudyContract, one: SimulatedSilo) -> Floats:
    """The columns that the contract reads, in their order (n, d); NaN where a file has no value."""
    count, names = contract.terms_of(one.silo).rows, [column.name for column in contract.data.columns]
    match one.source:
        case MockSource():
            rows = mock_rows(one.silo, one.source.dataset, one.source.columns, count)
            return np.column_stack([rows.column(name) for name in names])
        case FileSource():
            return _file_values(names, Path(one.source.path), count)
        case SplitSource():
            values = _file_values(names, Path(one.source.path), None)
            return values[np.random.default_rng(_SHUFFLE_SEED).permutation(len(values))][
                one.source.start : one.source.stop
            ]


def split(contract: TrainingContract, values: Floats, seed: int) -> SiloRows:
    """Each row is held out by a coin of its own; another seed gives another split."""
    training = np.random.default_rng(seed).random(len(values)) >= contract.evaluation.test_share
    return SiloRows(_side(values[training]), _side(values[~training]))


def _side(values: Floats) -> TrainingRows:
    return TrainingRows(np.ascontiguousarray(values[:, :-1]), values[:, -1].copy())


def _file_values(names: list[str], path: Path, count: int | None) -> Floats:
    """The first ``count`` rows; all of them for None."""
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise DatasetRefused(f"file {path.name} is larger than the {MAX_FILE_BYTES} bytes that are read")
        table = polars.read_csv(path, columns=names, n_rows=count, infer_schema_length=None)
        values = table.select(names).cast(polars.Float64).to_numpy(writable=True)
    except OSError as error:
        raise DatasetRefused(f"file {path} cannot be read: {error.strerror or 'is it a file?'}") from None
    except polars.exceptions.PolarsError:
        # Its text may quote a value.
        needed = ", ".join(names)
        raise DatasetRefused(f"file {path.name}: it must be CSV with these columns, all numbers: {needed}") from None
    return values.astype(np.float64, copy=False)
