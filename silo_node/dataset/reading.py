"""The two ways a registered source is read: through, for its owner, and opened, for a study."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.clauses import Column, Unit
from protocol.training_study import DataRequirement
from silo_node.dataset.fingerprint import Seal, same
from silo_node.dataset.keys import DatasetKeys
from silo_node.dataset.measurements import Measurements, check_columns, measurements_for
from silo_node.dataset.opt_outs import OptOutList
from silo_node.dataset.persons import persons_key
from silo_node.dataset.problems import ContentRefused
from silo_node.dataset.profile import profile_of
from silo_node.dataset.registration import Checked, Dataset, Found, Registration
from silo_node.dataset.rows import Rows, check_requirement, check_unit, needed_columns, rows_for
from silo_node.dataset.sources.opening import open_source
from silo_node.dataset.split import named_identities, row_tags, tags_of, training_mask
from silo_node.dataset.table import Table, read_table
from silo_node.errors import DatasetRefused


def read_through(registration: Registration, keys: DatasetKeys, opted_out: OptOutList) -> Checked:
    """Everything in the source, checked against schema and unit. Raises ``DatasetRefused``."""
    table, commitment = _read(registration, keys, opted_out, None, persons_key(keys))
    check_unit(registration.declared, registration.unit, table.repeated_row)
    profile = profile_of(table, registration.declared).value()
    return Checked(commitment, table.rows, table.clamped, table.left_out, profile, table.persons)


def open_rows(
    dataset: Dataset,
    keys: DatasetKeys,
    opted_out: OptOutList,
    requirement: DataRequirement,
    test_share: float,
    unit: Unit,
) -> Rows:
    """The rows for a contract. Raises ``DatasetRefused`` unless the source is what was registered, and covers it."""
    check_requirement(dataset.declared, requirement, dataset.name)
    table = _registered(dataset, keys, opted_out, needed_columns(requirement))
    # The stronger of the two units: a domain promised to subjects is not opened by records.
    check_unit(dataset.declared, "subject" if "subject" in (unit, dataset.unit) else "record", table.repeated_row)
    return rows_for(table, requirement, test_share)


def open_measurements(
    dataset: Dataset, keys: DatasetKeys, opted_out: OptOutList, columns: Sequence[Column], unit: Unit
) -> Measurements:
    """The values of these columns, for a study that adds them up. Raises ``DatasetRefused`` as ``open_rows`` does."""
    check_columns(dataset.declared, columns, dataset.name)
    table = _registered(dataset, keys, opted_out, [column.name for column in columns], gaps=True)
    check_unit(dataset.declared, "subject" if "subject" in (unit, dataset.unit) else "record", table.repeated_row)
    return measurements_for(table, columns)


def open_columns(
    dataset: Dataset, keys: DatasetKeys, opted_out: OptOutList, columns: Sequence[str]
) -> tuple[NDArray[np.float64], int]:
    """Exact values (n, columns) of the columns, in that order, for code that the owner read and approved; and how many
    rows of people who opted out are not among them.

    Raises ``DatasetRefused`` for a column that isn't declared, or a source that is not what was registered.
    """
    unknown = [column for column in columns if column not in dataset.declared.names]
    if unknown:
        raise DatasetRefused(f"dataset {dataset.name} declares no column {unknown[0]}")
    table = _registered(dataset, keys, opted_out, columns)
    return table.values, table.left_out


def _registered(
    dataset: Dataset, keys: DatasetKeys, opted_out: OptOutList, columns: Sequence[str], gaps: bool = False
) -> Table:
    """The table of these columns. Raises ``DatasetRefused`` unless the source holds what was registered."""
    try:
        table, commitment = _read(dataset, keys, opted_out, columns, gaps=gaps)
    except ContentRefused as problem:
        raise _changed(dataset, f" ({problem})") from None
    if not same(commitment, dataset.commitment):
        raise _changed(dataset, "")
    return table


def find_person(dataset: Dataset, keys: DatasetKeys, person: str, test_share: float) -> Found:
    """Where the rows of ``person`` are in the dataset as it is now. Raises ``DatasetRefused``."""
    schema, key = dataset.declared, keys.split(dataset.domain)
    seal = Seal(keys.fingerprint(), schema)
    columns = schema.names[:1]
    table = read_table(open_source(Path(dataset.source)), schema, seal, key, person.__eq__, columns)
    if not table.left_out:
        return "absent"
    role = "record" if schema.subject is None else "subject"
    trained = training_mask(tags_of(row_tags(key, named_identities(role, [person]))), test_share)
    return "trained" if trained[0] else "held out"


def _changed(dataset: Dataset, how: str) -> DatasetRefused:
    return DatasetRefused(
        f"dataset {dataset.name}: its source is not what was registered, it was changed since{how}; "
        f"restore it, or commit to what it holds now: consortia-silo dataset renew {dataset.name}"
    )


def _read(
    registration: Registration,
    keys: DatasetKeys,
    opted_out: OptOutList,
    columns: Sequence[str] | None,
    persons: bytes | None = None,
    gaps: bool = False,
) -> tuple[Table, str]:
    """The table and the commitment to all that was read of it."""
    seal = Seal(keys.fingerprint(), registration.declared)
    left_out = opted_out if len(opted_out) else None
    source = open_source(Path(registration.source))
    split = keys.split(registration.domain)
    table = read_table(source, registration.declared, seal, split, left_out, columns, persons_key=persons, gaps=gaps)
    return table, seal.commitment()
