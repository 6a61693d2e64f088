"""A study draft (YAML, docs/samples/heart.yaml) as a researcher writes it.

The draft holds every decision of the contract; ``protocol.calibration`` computes what follows from them.
"""

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, ValidationError, model_validator

from protocol import canonical
from protocol.errors import DraftRefused, Malformed
from protocol.ids import ColumnName, DatasetName, PersonId, Sentence, SiloId, Strict, Timestamp
from protocol.model import Model
from protocol.precision import Sealing
from protocol.study import (
    MAX_ROUNDS,
    Purpose,
    ReleaseRule,
    Schedule,
    Unit,
    explain,
)
from protocol.yaml_draft import MAX_DRAFT_BYTES, load_yaml

USUAL_PER_SLOT: Final = 3

Share = Annotated[float, Field(gt=0, lt=1)]


class DraftColumn(Strict):
    """A column; a binary one runs from 0 to 1 and needs no range."""

    name: ColumnName
    kind: Literal["number", "binary"]
    minimum: float | None = None
    maximum: float | None = None
    unit: Annotated[str, Field(max_length=40)] = ""


class DraftData(Strict):
    dataset: DatasetName
    features: Annotated[tuple[DraftColumn, ...], Field(min_length=1, max_length=10_000)]
    target: DraftColumn


class Shares(Strict):
    """What part of the privacy budget each stage gets; at most 1 in all."""

    normalisation: Share
    training: Share
    evaluation: Share


class DraftPrivacy(Strict):
    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=100)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    shares: Shares


class DraftNormalisation(Strict):
    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1)]
    clip: Annotated[float, Field(gt=0, le=1000)]


class DraftTraining(Strict):
    rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]
    local_steps: Annotated[int, Field(ge=1, le=1000)]
    learning_rate: Annotated[float, Field(gt=0, le=100)]
    weight_decay: Annotated[float, Field(ge=0, le=1)]
    clip: Annotated[float, Field(gt=0, le=1000)]
    averaged_rounds: Annotated[int, Field(ge=1, le=MAX_ROUNDS)]


class DraftEvaluation(Strict):
    test_share: Annotated[float, Field(gt=0, lt=0.9)]


class DraftSilo(Strict):
    silo: SiloId
    sampling_rate: Annotated[float, Field(gt=0, le=1)]


class DraftSealing(Sealing):
    """As the contract's; where neither values a slot nor bits are given, it is the usual 3 values a slot."""

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("values_per_slot") is None and given.get("bits") is None:
            return {**given, "values_per_slot": USUAL_PER_SLOT}
        return given


class Draft(Strict):
    """``weights`` says how much a silo counts: by its published rows, or by their square root; at most a half."""

    format: Literal["consortia-draft/1"]
    title: Sentence
    purpose: Purpose
    description: Sentence
    legal_basis: Sentence
    kind: Literal["training"]
    lead: PersonId
    recipients: Annotated[tuple[PersonId, ...], Field(min_length=1, max_length=32)]
    expires_at: Timestamp
    data: DraftData
    privacy: DraftPrivacy
    normalisation: DraftNormalisation
    model: Model
    training: DraftTraining
    evaluation: DraftEvaluation
    weights: Literal["rows", "sqrt-rows"]
    silos: Annotated[tuple[DraftSilo, ...], Field(min_length=3, max_length=256)]
    sealing: DraftSealing
    schedule: Schedule
    release: ReleaseRule


def read_draft(path: Path) -> Draft:
    """The draft in a file. Raises ``DraftRefused`` with every field that is wrong."""
    try:
        with path.open("rb") as file:
            return parse_draft(file.read(MAX_DRAFT_BYTES + 1))
    except OSError as error:
        raise DraftRefused(f"draft {path} can't be read: {error.strerror}") from None


def parse_draft(raw: bytes) -> Draft:
    """The draft in YAML bytes. Raises ``DraftRefused`` with every field that is wrong."""
    value = load_yaml(raw)
    if not isinstance(value, dict):
        raise DraftRefused("the draft is not a list of fields; see docs/samples/heart.yaml")
    try:
        return Draft.model_validate_json(canonical.encode(value))
    except Malformed as error:
        raise DraftRefused(f"the draft holds what a contract can't: {error}") from None
    except ValidationError as error:
        raise DraftRefused(f"draft refused: {explain(error)}") from None
