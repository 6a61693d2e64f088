"""What every study draft says, whatever is computed: the clauses of its contract, as a researcher writes them."""

from abc import ABC, abstractmethod
from typing import Annotated, Any, Literal

from pydantic import Field

from protocol.clauses import Purpose, ReleaseRule, Schedule, Unit
from protocol.errors import DraftRefused
from protocol.ids import ColumnName, DatasetName, PersonId, Sentence, SiloId, Strict, Timestamp

Share = Annotated[float, Field(gt=0, lt=1)]


class DraftColumn(Strict):
    """A column; a binary one runs from 0 to 1 and needs no range."""

    name: ColumnName
    kind: Literal["number", "binary"]
    minimum: float | None = None
    maximum: float | None = None
    unit: Annotated[str, Field(max_length=40)] = ""

    def value(self) -> dict[str, Any]:
        """The column as the contract has it, in JSON types. Raises ``DraftRefused`` for a number without a range."""
        value = self.model_dump(mode="json")
        if self.kind == "binary" and self.minimum is None and self.maximum is None:
            value |= {"minimum": 0.0, "maximum": 1.0}
        if value["minimum"] is None or value["maximum"] is None:
            raise DraftRefused(
                f"data: column {self.name} needs a minimum and a maximum from its meaning, not from data"
            )
        return value


class DraftRead(Strict, ABC):
    """Which dataset is read, and which of its columns."""

    dataset: DatasetName

    @property
    @abstractmethod
    def columns(self) -> tuple[DraftColumn, ...]:
        """Every column that the study reads."""


class DraftPrivacy(Strict):
    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]


class DraftSilo(Strict):
    silo: SiloId


class DraftClauses(Strict):
    format: Literal["consortia-draft/1"]
    title: Sentence
    purpose: Purpose
    description: Sentence
    legal_basis: Sentence
    kind: str
    lead: PersonId
    recipients: Annotated[tuple[PersonId, ...], Field(min_length=1, max_length=32)]
    expires_at: Timestamp
    data: DraftRead
    privacy: DraftPrivacy
    silos: Annotated[tuple[DraftSilo, ...], Field(min_length=3, max_length=256)]
    schedule: Schedule
    release: ReleaseRule
