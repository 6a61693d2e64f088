"""The draft of a study that trains a model (docs/samples/heart.yaml).

The draft holds every decision of the contract; ``protocol.training_calibration`` computes what follows from them.
"""

from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from protocol.draft_clauses import DraftClauses, DraftColumn, DraftPrivacy, DraftRead, DraftSilo, Share
from protocol.ids import ColumnName, Strict
from protocol.model import Model
from protocol.precision import Sealing
from protocol.training_study import MAX_ROUNDS

USUAL_PER_SLOT: Final = 3


class DraftData(DraftRead):
    features: Annotated[tuple[DraftColumn, ...], Field(min_length=1, max_length=10_000)]
    target: DraftColumn

    @property
    def columns(self) -> tuple[DraftColumn, ...]:
        return (*self.features, self.target)


class Shares(Strict):
    """What part of the privacy budget each stage gets; at most 1 in all."""

    normalisation: Share
    training: Share
    evaluation: Share


class TrainingPrivacy(DraftPrivacy):
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


class TrainingSilo(DraftSilo):
    sampling_rate: Annotated[float, Field(gt=0, le=1)]


class DraftSealing(Sealing):
    """As the contract's; where neither values a slot nor bits are given, it is the usual 3 values a slot."""

    @model_validator(mode="before")
    @classmethod
    def _usual(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("values_per_slot") is None and given.get("bits") is None:
            return {**given, "values_per_slot": USUAL_PER_SLOT}
        return given


class TrainingDraft(DraftClauses):
    """``weights`` says how much a silo counts: by its published rows, or by their square root; at most a half."""

    kind: Literal["training"]
    data: DraftData
    privacy: TrainingPrivacy
    normalisation: DraftNormalisation
    model: Model
    training: DraftTraining
    evaluation: DraftEvaluation
    weights: Literal["rows", "sqrt-rows"]
    silos: Annotated[tuple[TrainingSilo, ...], Field(min_length=3, max_length=256)]
    sealing: DraftSealing
