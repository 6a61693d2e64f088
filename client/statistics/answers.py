"""Answers to a statistics study's questions, computed from the released totals and the contract alone.

Every answer has a 95 % interval. ``about`` says of what: "rows", the value over the very rows that were read, where
only the noise (and the sealing's rounding) is uncertain; or "population", the value for those whom the rows are a
random sample of, where the sampling is uncertain too. The arithmetic is in ``client.statistics.estimates``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal

from client.statistics.bundle import StatisticsBundle
from client.statistics.estimates import Estimate, Known, Noise, estimates_of
from client.statistics.independence import Independence, independence_of
from protocol.questions import AnyQuestion, Contingency, Count, Histogram
from protocol.statistics_study import Query, variance_of


@dataclass(frozen=True, slots=True)
class Line:
    """One number of an answer: its cell, by axis, and what it is. ``estimate`` None: the cell was too small."""

    cell: tuple[str, ...]
    what: str
    about: Literal["rows", "population"]
    estimate: Estimate | None


@dataclass(frozen=True, slots=True)
class Answer:
    """All that is known to one question. ``axes`` names what its cells are told apart by."""

    question: AnyQuestion
    noise_deviation: float
    axes: tuple[str, ...]
    lines: tuple[Line, ...]
    suppressed: int
    independence: Independence | None = None

    @property
    def name(self) -> str:
        return self.question.name


def answers(bundle: StatisticsBundle) -> tuple[Answer, ...]:
    """The answer to each of the contract's questions, in their order."""
    return tuple(_answer(bundle, query) for query in bundle.contract.queries)


def _answer(bundle: StatisticsBundle, query: Query) -> Answer:
    question, cells = query.question, bundle.cells_of(query)
    noise = Noise(variance_of(bundle.contract, query, len(bundle.silos)))
    columns = {column.name: column for column in bundle.contract.data.reads}
    return Answer(
        question,
        noise.deviation,
        tuple(axis.name for axis in question.axes),
        tuple(_lines(question, cells, noise, columns)),
        sum(cell is None for cell in cells),
        independence_of(bundle.study, question, cells, noise),
    )


def _lines(
    question: AnyQuestion, cells: list[tuple[float, ...] | None], noise: Noise, columns: Known
) -> Iterator[Line]:
    names = product(*(axis.levels for axis in question.axes))
    for cell, components in zip(names, cells, strict=True):
        if components is None:
            kept: str = "count" if isinstance(question, (Count, Histogram, Contingency)) else question.kind
            yield Line(cell, kept, "rows", None)
            continue
        for what, about, estimate in estimates_of(question, components, noise, columns):
            yield Line(cell, what, about, estimate)
