"""A schema says everything before a row is read, or is refused naming the field."""

from pathlib import Path

import pytest

from protocol.clauses import Column
from protocol.training_study import DataRequirement
from silo_node.dataset.schema import Schema, parse_schema, read_schema, unmet
from silo_node.errors import DatasetRefused

YAML = """\
format: consortia-schema/1
title: A clinic
sensitivity: special-category
subject: patient
target: ill
columns:
  - {name: age, kind: number, unit: years, minimum: 18, maximum: 100}
  - {name: ill, kind: binary}
"""
AGE = "  - {name: age, kind: number, unit: years, minimum: 18, maximum: 100}\n"


def test_a_binary_column_runs_from_0_to_1_unsaid(schema: Schema) -> None:
    assert (schema.column("ill").minimum, schema.column("ill").maximum) == (0.0, 1.0)


@pytest.mark.parametrize(
    ("change", "into", "said"),
    [
        ("title: A clinic", "title: A clinic\nowner: me", "owner: Extra inputs"),
        ("target: ill", "target: dead", "target: dead is not among the columns"),
        ("target: ill", "target: age", "target: age must be binary"),
        ("minimum: 18, maximum: 100", "minimum: 100, maximum: 18", "minimum 100.0 must be below maximum 18.0"),
        ("minimum: 18, maximum: 100", "minimum: 18", "a number needs a minimum and a maximum"),
        ("minimum: 18, maximum: 100", "minimum: 18, maximum: .inf", "maximum: Input should be a finite number"),
        ("minimum: 18", "minimum: eighteen", "minimum: Input should be a valid number"),
        ("kind: binary", "kind: binary, minimum: 0, maximum: 4", "a binary column runs from 0 to 1"),
        ("name: age", "name: Age Of Patient", "name: String should match pattern"),
        (AGE, AGE + AGE, "declared more than once: age"),
        ("subject: patient", "subject: age", "age identifies and so cannot be a column"),
        ("subject: patient", "subject: patient\nrecord_id: patient", "patient is the subject already"),
        ("sensitivity: special-category", "sensitivity: whatever", "sensitivity: Input should be"),
        ("format: consortia-schema/1", "format: consortia-schema/9", "format: Input should be"),
    ],
)
def test_a_wrong_field_is_named(change: str, into: str, said: str) -> None:
    with pytest.raises(DatasetRefused, match=r"clinic\.yaml") as refusal:
        parse_schema(YAML.replace(change, into, 1), "clinic.yaml")
    assert said in str(refusal.value)


@pytest.mark.parametrize("text", ["", "[", "a: b: c", "- 1", "!!python/object/apply:os.system ['true']", "x: *nobody"])
def test_what_is_no_schema_is_refused(text: str) -> None:
    with pytest.raises(DatasetRefused, match=r"clinic\.yaml"):
        parse_schema(text, "clinic.yaml")


def test_a_schema_file_that_is_not_there_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetRefused, match="No such file"):
        read_schema(tmp_path / "none.yaml")
    (tmp_path / "odd.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DatasetRefused, match="not text in UTF-8"):
        read_schema(tmp_path / "odd.yaml")


def test_a_schema_covers_a_contract_that_asks_for_less(schema: Schema, requirement: DataRequirement) -> None:
    assert unmet(schema, requirement) == []


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (Column(name="weight", kind="number", minimum=0.0, maximum=1.0), "weight is not declared"),
        (Column(name="age", kind="number", unit="months", minimum=18.0, maximum=100.0), "is in 'years'"),
        (Column(name="age", kind="number", unit="years", minimum=100.0, maximum=200.0), "all of it outside"),
        (Column(name="smoker", kind="number", minimum=0.0, maximum=1.0), "declared binary, the contract wants number"),
    ],
)
def test_every_unmet_column_is_named(schema: Schema, requirement: DataRequirement, column: Column, said: str) -> None:
    asked = DataRequirement(dataset="clinic", features=(column,), target=requirement.target)
    assert [reason for reason in unmet(schema, asked) if said in reason]


def test_another_target_than_the_schemas_is_not_covered(schema: Schema, requirement: DataRequirement) -> None:
    target = Column(name="smoker", kind="binary", minimum=0.0, maximum=1.0)
    asked = DataRequirement(dataset="clinic", features=requirement.features, target=target)
    assert unmet(schema, asked) == ["target smoker is not the schema's target, ill"]
