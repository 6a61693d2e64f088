"""The declared schema: what a data owner says about a table's columns, in a YAML file, before anyone reads a row.

The ranges are declared and never computed from the data: they are what values are clamped to and what the
noise of a statistic is scaled by, so a range taken from the data would give its extremes away.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from protocol.clauses import Column
from protocol.ids import ColumnName, Sentence, Strict
from protocol.published_column import PublishedColumn
from protocol.study import explain
from protocol.training_study import DataRequirement
from silo_node.dataset.columns import DeclaredColumn
from silo_node.errors import DatasetRefused

MAX_SCHEMA_BYTES = 4 * 1024 * 1024
MAX_COLUMNS: Final = 10_001
"""Columns of numbers, after categories and images have become theirs."""

Sensitivity = Literal["public", "personal", "special-category"]
"""``special-category`` as in Article 9 of the GDPR: health, genetics, beliefs and the like."""


class Schema(Strict):
    """What a source holds. Columns of it that are not named here are never read.

    ``subject`` names the person a row is about and ``record_id`` the row itself, by a value that never changes;
    either may be any text or integer, and neither is ever used as a feature.
    """

    format: Literal["consortia-schema/1"]
    title: Sentence
    sensitivity: Sensitivity
    columns: Annotated[tuple[DeclaredColumn, ...], Field(min_length=2, max_length=MAX_COLUMNS)]
    target: ColumnName
    subject: ColumnName | None = None
    record_id: ColumnName | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        names = [column.name for column in self.columns]
        _refuse_doubled(names)
        if sum(_width(column) for column in self.columns) > MAX_COLUMNS:
            raise ValueError(f"columns: they become more than {MAX_COLUMNS} columns of numbers")
        expanded = self.expanded
        _refuse_doubled([column.name for column in expanded])
        targets = [column for column in expanded if column.name == self.target]
        if not targets:
            raise ValueError(f"target: {self.target} is not among the columns")
        if targets[0].kind != "binary":
            raise ValueError(f"target: {self.target} must be binary")
        for role, name in (("subject", self.subject), ("record_id", self.record_id)):
            if name in names or name in self.names:
                raise ValueError(f"{role}: {name} identifies and so cannot be a column that is computed with")
        if self.subject is not None and self.subject == self.record_id:
            raise ValueError(f"record_id: {self.subject} is the subject already; leave record_id out")
        return self

    @property
    def expanded(self) -> tuple[PublishedColumn, ...]:
        """The columns of numbers that contracts may ask for, in the order of the declaration."""
        return tuple(column for declared in self.columns for column in declared.expanded())

    @property
    def names(self) -> tuple[str, ...]:
        """The names of ``expanded``."""
        return tuple(column.name for column in self.expanded)

    @property
    def identifying(self) -> tuple[str, ...]:
        """The source's columns that say whose a row is, or which."""
        return tuple(name for name in (self.subject, self.record_id) if name is not None)

    @property
    def wanted(self) -> tuple[str, ...]:
        """All columns of the source that are read: the declared ones, then the identifying ones."""
        return (*(column.name for column in self.columns), *self.identifying)

    def column(self, name: str) -> DeclaredColumn:
        """The column called ``name``. Raises ``DatasetRefused`` where none is declared."""
        for column in self.columns:
            if column.name == name:
                return column
        raise DatasetRefused(
            f"column {name} is not declared in the schema; declared are: "
            f"{', '.join(column.name for column in self.columns)}"
        )


def parse_schema(text: str, origin: str) -> Schema:
    """The schema in YAML ``text``. Raises ``DatasetRefused`` naming ``origin`` and every field that is wrong."""
    if len(text) > MAX_SCHEMA_BYTES:
        raise DatasetRefused(f"schema {origin} has {len(text)} characters, at most {MAX_SCHEMA_BYTES} are read")
    try:
        value = yaml.safe_load(text)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise DatasetRefused(f"schema {origin} is not YAML{where}") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise DatasetRefused(f"schema {origin} is not YAML") from None
    try:
        return Schema.model_validate(_arrays_as_tuples(value))
    except ValidationError as error:
        raise DatasetRefused(f"schema {origin} refused: {explain(error)}") from None


def read_schema(path: Path) -> Schema:
    """The schema in the YAML file ``path``. Raises ``DatasetRefused``."""
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        raise DatasetRefused(f"schema {path.name} is not text in UTF-8") from None
    except OSError as error:
        raise DatasetRefused(f"schema {path} cannot be read: {error.strerror}") from None
    return parse_schema(text, path.name)


def unmet(schema: Schema, requirement: DataRequirement) -> list[str]:
    """Why ``schema`` does not cover ``requirement``, one sentence a column; empty where it does.

    Kinds and units must be the same: mg/dl summed with mmol/l is nobody's mean. Ranges may differ, since values are
    clamped to both, but one that lies wholly outside the other would make the column a constant and means
    another unit.
    """
    reasons = unmet_columns(schema, requirement.columns)
    if requirement.target.name != schema.target:
        reasons.append(f"target {requirement.target.name} is not the schema's target, {schema.target}")
    return reasons


def unmet_columns(schema: Schema, columns: Iterable[Column]) -> list[str]:
    """As ``unmet``, of columns that nobody learns to predict."""
    declared = {column.name: column for column in schema.expanded}
    reasons = []
    for wanted in columns:
        column = declared.get(wanted.name)
        if column is None:
            reasons.append(f"column {wanted.name} is not declared in the schema")
        else:
            reasons += _differences(column, wanted)
    return reasons


def _differences(column: Column, wanted: Column) -> list[str]:
    reasons = []
    if column.kind != wanted.kind:
        reasons.append(f"column {column.name} is declared {column.kind}, the contract wants {wanted.kind}")
    if column.unit != wanted.unit:
        reasons.append(f"column {column.name} is in {_unit(column.unit)}, the contract wants {_unit(wanted.unit)}")
    if wanted.minimum >= column.maximum or wanted.maximum <= column.minimum:
        reasons.append(
            f"column {column.name} runs from {column.minimum} to {column.maximum}, all of it outside the "
            f"contract's {wanted.minimum} to {wanted.maximum}"
        )
    return reasons


def _unit(unit: str) -> str:
    return repr(unit) if unit else "no unit"


def _arrays_as_tuples(value: Any) -> Any:
    """YAML has lists and integers where strict pydantic wants tuples and takes integers for floats."""
    if isinstance(value, dict):
        return {key: _arrays_as_tuples(item) for key, item in value.items()}
    if isinstance(value, list):
        return tuple(_arrays_as_tuples(item) for item in value)
    return value


def _width(column: DeclaredColumn) -> int:
    """How many columns of numbers ``column`` becomes, without making them: the bound is checked before they are."""
    return column.image.values if column.image else len(column.categories or (column.name,))


def _refuse_doubled(names: list[str]) -> None:
    if len(set(names)) != len(names):
        doubled = sorted({name for name in names if names.count(name) > 1})
        raise ValueError(f"columns: declared more than once: {', '.join(doubled[:20])}")
