"""The draft of a study that trains a model (docs/samples/heart.yaml).

The draft holds every decision of the contract; ``protocol.training_calibration`` computes what follows from them.
"""

import math
from typing import Annotated, Any, Final, Literal

from pydantic import Field, model_validator

from protocol.draft_clauses import DraftClauses, DraftColumn, DraftPrivacy, DraftRead, DraftSilo, Share
from protocol.evaluation import MAX_BINS, MAX_GROUPS, TestShare
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


class DraftScores(Strict):
    """A histogram of scores in place of two counts: so many bins, equally wide in probability or in log-odds."""

    bins: Annotated[int, Field(ge=4, le=MAX_BINS, multiple_of=2)] = 20
    scale: Literal["probability", "log-odds"] = "probability"
    groups: Annotated[tuple[ColumnName, ...], Field(max_length=MAX_GROUPS)] = ()

    @property
    def edges(self) -> tuple[float, ...]:
        """Probabilities between the bins; log-odds run from -5 to 5, beyond which lie the first bin and the last."""
        shares = [place / self.bins for place in range(1, self.bins)]
        if self.scale == "probability":
            return tuple(round(share, 9) for share in shares)
        spots = [-5.0 + 10.0 * place / (self.bins - 2) for place in range(self.bins - 1)]
        return tuple(round(1 / (1 + math.exp(-spot)), 9) for spot in spots)


class DraftEvaluation(Strict):
    test_share: TestShare
    scores: DraftScores | None = None


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
