"""The kind of study that answers questions: one round, one sealed sum of all the questions' contributions."""

import math
from collections import Counter
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocol import accounting
from protocol.clauses import Clauses, Column, DataRead, check_cost
from protocol.ids import Strict
from protocol.precision import resolved
from protocol.questions import MAX_VALUES, AnyQuestion, Axis, Histogram, Quantiles, Survival
from protocol.spend import Event, Gaussian

MAX_QUESTIONS: Final = 256
MAX_NOISES: Final = 16
"""Different noise multipliers in one study: as many events as one statement may charge."""
LEAST_CELL: Final = 5

ROOM: Final = 16
_TAILS: Final = 8
"""How many standard deviations of the noise the encoding's range leaves room for."""


class ColumnsRead(DataRead):
    """Which columns of the dataset the questions are about."""

    reads: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000)]

    @property
    def columns(self) -> tuple[Column, ...]:
        return self.reads

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [column.name for column in self.reads]
        if len(set(names)) != len(names):
            raise ValueError("data.reads: each column may stand there once")
        return self


class Query(Strict):
    """A question with its noise: of standard deviation ``noise_multiplier`` times the question's sensitivity."""

    question: AnyQuestion
    noise_multiplier: Annotated[float, Field(ge=0.3, le=10_000)]

    @property
    def deviation(self) -> float:
        """The standard deviation of one silo's noise on one value, in units of a row's largest contribution."""
        return self.noise_multiplier * math.sqrt(self.question.squared_sensitivity)


class StatisticsContract(Clauses):
    """A study that ends in noised totals. A cell with a noised count below ``minimum_cell`` leaves no silo."""

    kind: Literal["statistics"]
    data: ColumnsRead
    minimum_cell: Annotated[int, Field(ge=LEAST_CELL, le=1_000_000)]
    queries: Annotated[tuple[Query, ...], Field(min_length=1, max_length=MAX_QUESTIONS)]

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_questions(self.data.reads, tuple(query.question for query in self.queries))
        if len({query.noise_multiplier for query in self.queries}) > MAX_NOISES:
            raise ValueError(f"queries: more than {MAX_NOISES} different noises; give more of them the same weight")
        check_cost(self)
        return self

    def cost(self, silo: str, order: int) -> int:
        """What the whole study costs any silo at ``order``, in 1e-12 of Renyi divergence."""
        return accounting.cost_of(statistics_events(self), order)


def statistics_events(contract: StatisticsContract) -> tuple[Event, ...]:
    """What the one round costs any silo: each query's noise, those of equal noise together."""
    counted = Counter(query.noise_multiplier for query in contract.queries)
    unit = contract.privacy.unit
    return tuple(
        Gaussian(kind="gaussian", noise_multiplier=noise, count=count, unit=unit) for noise, count in counted.items()
    )


def exponent_of(contract: StatisticsContract, query: Query) -> int:
    """The scale exponent e of a query's values: one silo's are encoded on [-2^e, 2^e].

    16 times the largest published count leaves room for a silo that has many more rows than it published, and for the
    noise's tails; at one value a slot the levels are still far finer than any noise.
    """
    most = ROOM * max(terms.rows for terms in contract.silos) + _TAILS * query.deviation
    return math.frexp(most)[1]


def variance_of(contract: StatisticsContract, query: Query, silos: int) -> float:
    """The variance of what stands in a value of the total of ``silos`` silos beside the exact sum: the noise, and the
    sealing's rounding to levels, which is at most a quarter of a level squared."""
    _, bits = resolved(contract.sealing, len(contract.silos))
    level = math.ldexp(1.0, exponent_of(contract, query) + 1) / ((1 << bits) - 1)
    return silos * (query.deviation * query.deviation + level * level / 4)


def check_questions(reads: tuple[Column, ...], questions: tuple[AnyQuestion, ...]) -> None:
    """Raises ``ValueError`` for a question about other columns, of the wrong kind, out of range or too long."""
    names = [question.name for question in questions]
    if len(set(names)) != len(names):
        raise ValueError("queries: each must have a name of its own")
    columns = {column.name: column for column in reads}
    for question in questions:
        unknown = [name for name in question.columns if name not in columns]
        if unknown:
            raise ValueError(f"queries: {question.name} is about column {unknown[0]}, which data.reads doesn't name")
        for axis in question.axes:
            _check_axis(question.name, axis, columns)
        _check_edges(question, columns)
    asked = {name for question in questions for name in question.columns}
    idle = [name for name in columns if name not in asked]
    if idle and len(columns) > 1:  # A dataset is read by its columns: a bare count needs one too.
        raise ValueError(f"data.reads: no query is about column {idle[0]}; leave it out")
    values = sum(question.values for question in questions)
    if values > MAX_VALUES:
        raise ValueError(f"queries: {values} values in all, at most {MAX_VALUES} are summed; use fewer levels or bins")


def _check_axis(question: str, axis: Axis, columns: dict[str, Column]) -> None:
    if axis.edges is None:
        other = [name for name in axis.columns if columns[name].kind != "binary"]
        if other:
            raise ValueError(f"queries: {question} tells rows apart by number {other[0]}; give axis {axis.name} edges")
        return
    _check_within(question, axis.edges, columns[axis.columns[0]])


def _check_edges(question: AnyQuestion, columns: dict[str, Column]) -> None:
    match question:
        case Histogram() | Quantiles():
            _check_within(question.name, question.edges, columns[question.column])
        case Survival():
            _check_within(question.name, question.edges, columns[question.time])
            if columns[question.event].kind != "binary":
                raise ValueError(f"queries: {question.name}.event: column {question.event} must be binary")
        case _:
            pass


def _check_within(question: str, edges: tuple[float, ...], column: Column) -> None:
    if edges[0] < column.minimum or edges[-1] > column.maximum:
        raise ValueError(
            f"queries: the edges of {question} run from {edges[0]:g} to {edges[-1]:g}, column {column.name} from "
            f"{column.minimum:g} to {column.maximum:g}; keep them within"
        )
