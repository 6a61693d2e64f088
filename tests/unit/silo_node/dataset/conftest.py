"""A small made-up clinic: four columns, one row a patient."""

from pathlib import Path

import pytest

from protocol.clauses import Column
from protocol.training_study import DataRequirement
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Registration, register
from silo_node.dataset.schema import Schema, parse_schema

SCHEMA = """\
format: consortia-schema/1
title: A clinic
sensitivity: special-category
subject: patient
target: ill
columns:
  - {name: age, kind: number, unit: years, minimum: 18, maximum: 100}
  - {name: pressure, kind: number, unit: mm Hg, minimum: 80, maximum: 220}
  - {name: smoker, kind: binary}
  - {name: ill, kind: binary}
"""

TABLE = """\
ward,patient,ill,age,smoker,pressure
secret-ward,p-1,1,63,0,145.5
secret-ward,p-2,0,17,1,230
secret-ward,p-3,1,70,1,120
secret-ward,p-4,0,41,0,130
"""


@pytest.fixture
def schema() -> Schema:
    return parse_schema(SCHEMA, "clinic.yaml")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "clinic.csv"
    path.write_text(TABLE)
    return path


@pytest.fixture
def catalogue(tmp_path: Path) -> Catalogue:
    return Catalogue(tmp_path / "datasets")


@pytest.fixture
def registration(schema: Schema, source: Path) -> Registration:
    return register("clinic", source, schema, "patients", 5.0, 1e-3, 4, 4)


@pytest.fixture
def requirement() -> DataRequirement:
    """Two of the columns, the other way round, one in a narrower range than the schema's."""
    return DataRequirement(
        dataset="clinic",
        features=(
            Column(name="pressure", kind="number", unit="mm Hg", minimum=100.0, maximum=200.0),
            Column(name="age", kind="number", unit="years", minimum=18.0, maximum=100.0),
        ),
        target=Column(name="ill", kind="binary", minimum=0.0, maximum=1.0),
    )
