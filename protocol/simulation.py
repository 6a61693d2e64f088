"""What the command that simulates a study is asked, and what it answers: JSON, one message a line.

The client asks and ``consortia-silo simulate`` computes, since only the silo's parts hold torch. Nothing here is ever
signed, sent to a hub or charged: a simulation reads mock rows, or files of public data that its user names.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, TypeAdapter, model_validator

from protocol.ids import DatasetName, Sentence, SiloId, Strict
from protocol.published_column import PublishedColumn
from protocol.rounds import Stage
from protocol.study import StudyContract
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


class SplitSource(Strict):
    """Rows ``start`` to ``stop`` (not included) of such a file, after its rows were shuffled, alike for every silo."""

    kind: Literal["split"]
    path: Annotated[str, Field(min_length=1, max_length=4096)]
    start: Count
    stop: Annotated[int, Field(ge=1)]


class SimulatedSilo(Strict):
    """One silo of the contract, with as many rows as the contract says it published."""

    silo: SiloId
    source: Annotated[MockSource | FileSource | SplitSource, Field(discriminator="kind")]


class SimulationJob(Strict):
    """A study to simulate in full: a silo for each that the contract names."""

    format: Literal["consortia-simulation/1"]
    contract: StudyContract
    silos: tuple[SimulatedSilo, ...]

    @model_validator(mode="after")
    def _every_silo(self) -> Self:
        if [one.silo for one in self.silos] != list(self.contract.silo_names):
            raise ValueError("silos: must be those of the contract, in its order")
        return self


class ForecastPoint(Strict):
    """The study at one epsilon; without noise where that is None: as drafted, clipping too, but nothing is added."""

    epsilon: Annotated[float, Field(gt=0)] | None
    contract: TrainingContract


class ForecastJob(Strict):
    """One study at several epsilons, each simulated in full ``repeats`` times on the same rows."""

    format: Literal["consortia-forecast/1"]
    points: Annotated[tuple[ForecastPoint, ...], Field(min_length=1, max_length=20)]
    repeats: Annotated[int, Field(ge=1, le=1000)]
    silos: tuple[SimulatedSilo, ...]

    @model_validator(mode="after")
    def _every_silo(self) -> Self:
        names = [one.silo for one in self.silos]
        if any(names != list(point.contract.silo_names) for point in self.points):
            raise ValueError("silos: must be those of every point's contract, in its order")
        return self


Job = SimulationJob | ForecastJob
JOB: TypeAdapter[Job] = TypeAdapter(Annotated[Job, Field(discriminator="format")])


class RoundSimulated(Strict):
    """A round is over. ``accuracy`` is exact, over all held-out rows, with the model as it would be released now.

    ``epsilon`` is what the rounds so far cost at the contract's delta where they cost most; ``clipped`` of ``values``
    were beyond the range that the contract encodes, over all silos.
    """

    type: Literal["round"]
    index: Count
    last: Count
    stage: Stage
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


class StatisticsSimulated(Strict):
    """The end of a statistics study: its opened total over all silos, as it would be noised, and without the noise.

    ``clipped`` values were beyond the range that the contract encodes; ``epsilon`` is what the study costs.
    """

    type: Literal["statistics"]
    noised: tuple[float, ...]
    exact: tuple[float, ...]
    clipped: Count
    epsilon: Annotated[float, Field(ge=0)]


class SimulationRefused(Strict):
    """The simulation stopped: why, without a value of any row."""

    type: Literal["refused"]
    reason: Sentence


class RunForecast(Strict):
    """One whole study is over: at which point of the forecast, in which repeat, both counted from 0.

    exact: the exact accuracy over all held-out rows. told, told_error: what its release would have said of it; None
    where noise drowned the counts. commonest: what always giving the commoner answer gets on the same rows.
    """

    type: Literal["run"]
    point: Count
    repeat: Count
    exact: Share | None
    told: Share | None
    told_error: Annotated[float, Field(ge=0)] | None
    commonest: Share | None


Report = RoundSimulated | SimulationOutcome | StatisticsSimulated | RunForecast | SimulationRefused
REPORT: TypeAdapter[Report] = TypeAdapter(Annotated[Report, Field(discriminator="type")])
