"""Columns as a statistics study gets them: clamped, and with a gap where a value is missing."""

from pathlib import Path

import numpy as np
import pytest

from protocol.clauses import Column
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import register
from silo_node.dataset.schema import parse_schema
from silo_node.errors import DatasetRefused

SCHEMA = """\
format: consortia-schema/1
title: A clinic with gaps
sensitivity: special-category
subject: patient
target: ill
columns:
  - {name: age, kind: number, unit: years, minimum: 18, maximum: 100, missing: 50}
  - {name: ward, kind: category, categories: [north, south], missing: north}
  - {name: smoker, kind: binary, missing: 0}
  - {name: ill, kind: binary}
"""
TABLE = """\
patient,age,ward,smoker,ill
p-1,63,north,1,1
p-2,,south,,0
p-3,12,,0,1
p-4,101,south,1,0
"""


@pytest.fixture
def clinic(tmp_path: Path) -> Catalogue:
    source = tmp_path / "clinic.csv"
    source.write_text(TABLE)
    catalogue = Catalogue(tmp_path / "datasets")
    registration = register("clinic", source, parse_schema(SCHEMA, "clinic.yaml"), "patients", 5.0, 1e-3, 4, 4)
    catalogue.add(registration, catalogue.check, "2026-11-22T03:29:00Z")
    return catalogue


def columns(*names: str, **changes: object) -> tuple[Column, ...]:
    numbers = {"age": {"kind": "number", "minimum": 20.0, "maximum": 90.0, "unit": "years"}}
    binary = {"kind": "binary", "minimum": 0.0, "maximum": 1.0}
    return tuple(Column(name=name, **(numbers.get(name, binary) | changes)) for name in names)


def test_a_missing_value_is_a_gap_and_what_was_declared_for_it_is_not_used(clinic: Catalogue) -> None:
    read = clinic.measure("clinic", columns("age", "ward_north", "ward_south", "smoker"), "subject")
    gap = np.nan
    expected = [[63, 1, 0, 1], [gap, 0, 1, gap], [20, gap, gap, 0], [90, 0, 1, 1]]
    np.testing.assert_array_equal(read.values, expected)
    assert not read.values.flags.writeable and "redacted" in repr(read)


def test_a_source_with_gaps_is_still_what_was_registered_and_a_changed_one_is_not(
    clinic: Catalogue, tmp_path: Path
) -> None:
    clinic.measure("clinic", columns("age"), "subject")
    (tmp_path / "clinic.csv").write_text(TABLE.replace("p-2,,", "p-2,50,"))
    with pytest.raises(DatasetRefused, match="is not what was registered"):
        clinic.measure("clinic", columns("age"), "subject")


def test_people_who_opted_out_are_in_no_sum(clinic: Catalogue) -> None:
    clinic.opt_outs.add("patients", ["p-1"], "2026-11-23T03:29:00Z")
    read = clinic.measure("clinic", columns("age"), "subject")
    assert (len(read.values), read.left_out) == (3, 1)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (columns("height"), "height is not declared"),
        (columns("ill", kind="number"), "declared binary, the contract wants number"),
        (columns("age", unit="months"), "'years', the contract wants 'months'"),
    ],
)
def test_columns_that_the_schema_does_not_have_are_refused(
    clinic: Catalogue, asked: tuple[Column, ...], said: str
) -> None:
    with pytest.raises(DatasetRefused, match=said):
        clinic.measure("clinic", asked, "subject")


def test_a_person_with_two_rows_would_count_twice_and_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "twice.csv"
    source.write_text(TABLE + "p-1,64,north,1,1\n")
    catalogue = Catalogue(tmp_path / "datasets")
    schema = parse_schema(SCHEMA, "clinic.yaml")
    registration = register("clinic", source, schema, "records", 5.0, 1e-3, 4, 4, unit="record")
    catalogue.add(registration, catalogue.check, "2026-11-22T03:29:00Z")
    assert len(catalogue.measure("clinic", columns("age"), "record").values) == 5
    with pytest.raises(DatasetRefused, match="at most one row a"):
        catalogue.measure("clinic", columns("age"), "subject")
