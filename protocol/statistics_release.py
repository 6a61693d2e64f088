"""What silos release of a statistics study: noised totals as canonical JSON, without the cells that are too small."""

import math
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Literal

from pydantic import Field

from protocol import canonical
from protocol.ids import SiloId, Strict, StudyId
from protocol.questions import AnyQuestion, Quantiles, Survival
from protocol.statistics_study import Query, StatisticsContract
from protocol.study import contract_value

MAX_TOTALS_BYTES = 64 * 1024 * 1024


class QueryTotals(Strict):
    """A query's total, cell after cell, component after component; None where the cell is too small to be shown."""

    query: str
    values: tuple[float | None, ...]


class StatisticsRelease(Strict):
    """``silos``: those whose rows are in the totals."""

    format: Literal["consortia-statistics/1"]
    study: StudyId
    contract: dict[str, Any]
    silos: Annotated[tuple[SiloId, ...], Field(min_length=1, max_length=256)]
    totals: tuple[QueryTotals, ...]


def statistics_release(
    contract: StatisticsContract, study: StudyId, silos: tuple[str, ...], totals: Sequence[float]
) -> bytes:
    """The bytes that every silo releases, the same everywhere. ``totals`` is the opened total over ``silos``."""
    release = StatisticsRelease(
        format="consortia-statistics/1",
        study=study,
        contract=contract_value(contract),
        silos=silos,
        totals=shown_totals(contract, totals),
    )
    return canonical.encode(release.model_dump(mode="json"))


def shown_totals(contract: StatisticsContract, totals: Sequence[float]) -> tuple[QueryTotals, ...]:
    """Every query's total without the cells that are too small: a rule over noised numbers, the same for everybody."""
    return tuple(
        QueryTotals(query=query.question.name, values=_shown(query.question, part, contract.minimum_cell))
        for query, part in parts_of(contract, totals)
    )


def parts_of(contract: StatisticsContract, totals: Sequence[float]) -> Iterator[tuple[Query, Sequence[float]]]:
    """Each query with its part of the study's vector."""
    start = 0
    for query in contract.queries:
        yield query, totals[start : start + query.question.values]
        start += query.question.values


def rows_in(question: AnyQuestion, cell: Sequence[float]) -> float:
    """The noised number of rows in a cell: its first component, or the sum over its bins."""
    if isinstance(question, (Quantiles, Survival)):
        return math.fsum(cell)
    return cell[0]


def _shown(question: AnyQuestion, part: Sequence[float], minimum: int) -> tuple[float | None, ...]:
    shown: list[float | None] = []
    for start in range(0, question.values, question.components):
        cell = part[start : start + question.components]
        shown += cell if rows_in(question, cell) >= minimum else [None] * len(cell)
    return tuple(shown)
