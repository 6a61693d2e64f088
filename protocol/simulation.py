"""What the command that simulates a study is asked, and what it answers: JSON, one message a line.

The client asks and ``consortia-silo simulate`` computes, since only the silo's parts hold torch. Nothing here is ever
signed, sent to a hub or charged: a simulation reads mock rows, or files of public data that its user names.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from protocol.ids import DatasetName, Sentence, SiloId, Strict
from protocol.published_column import PublishedColumn
from protocol.training_study import TrainingContract

Share = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=0)]


class MockSource(Strict):
    """Rows that ``protocol.mock`` makes from what the silo published."""

    kind: Literal["mock"]
    dataset: DatasetName
    columns: Annotated[tuple[PublishedColumn, ...], Field(min_length=1, max_length=10_000)]


class FileSource(Strict):
    """The first rows of a CSV file of public data, with a column for each of the contract's."""

    kind: Literal["file"]
    path: Annotated[str, Field(min_length=1, max_length=4096)]


class SimulatedSilo(Strict):
    """One silo of the contract, with as many rows as the contract says it published."""

    silo: SiloId
    source: Annotated[MockSource | FileSource, Field(discriminator="kind")]


class SimulationJob(Strict):
    """A study to simulate in full: a silo for each that the contract names."""

    format: Literal["consortia-simulation/1"]
    contract: TrainingContract
    silos: tuple[SimulatedSilo, ...]

    @model_validator(mode="after")
    def _every_silo(self) -> Self:
        if [one.silo for one in self.silos] != list(self.contract.silo_names):
            raise ValueError("silos: must be those of the contract, in its order")
        return self


class RoundSimulated(Strict):
    """A round is over. ``accuracy`` is exact, over all held-out rows, with the model as it would be released now.

    ``epsilon`` is what the rounds so far cost at the contract's delta where they cost most; ``clipped`` of ``values``
    were beyond the range that the contract encodes, over all silos.
    """

    type: Literal["round"]
    index: Count
    last: Count
    stage: Literal["normalisation", "training", "evaluation"]
    accuracy: Share | None
    epsilon: Annotated[float, Field(ge=0)]
    clipped: Count
    values: Count


class SiloSimulated(Strict):
    """Rows that were trained on and held out at one silo, and the exact accuracy on the latter (None for none)."""

    silo: SiloId
    training: Count
    held_out: Count
    accuracy: Share | None


class SimulationOutcome(Strict):
    """The end. ``accuracy`` and ``standard_error`` are what a release would tell; None where noise drowned the counts.

    ``exact`` is the exact accuracy over all held-out rows, ``commonest`` what always giving the commoner answer gets.
    """

    type: Literal["outcome"]
    right: float
    wrong: float
    accuracy: Share | None
    standard_error: Annotated[float, Field(ge=0)] | None
    exact: Share | None
    commonest: Share | None
    silos: tuple[SiloSimulated, ...]


class SimulationRefused(Strict):
    """The simulation stopped: why, without a value of any row."""

    type: Literal["refused"]
    reason: Sentence


Report = Annotated[RoundSimulated | SimulationOutcome | SimulationRefused, Field(discriminator="type")]
REPORT: TypeAdapter[RoundSimulated | SimulationOutcome | SimulationRefused] = TypeAdapter(Report)
