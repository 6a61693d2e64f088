"""The draft of a statistics study (docs/samples/statistics.yaml)."""

from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.draft_clauses import DraftClauses, DraftColumn, DraftPrivacy, DraftRead
from protocol.ids import ColumnName
from protocol.precision import Packing
from protocol.questions import AnyQuestion
from protocol.statistics_study import LEAST_CELL, MAX_QUESTIONS

USUAL_CELL: Final = 10
USUAL_BINS: Final = 20

Weight = Annotated[float, Field(gt=0, le=1000)]


class ReadDraft(DraftRead):
    reads: Annotated[tuple[DraftColumn, ...], Field(min_length=1, max_length=10_000)]

    @property
    def columns(self) -> tuple[DraftColumn, ...]:
        return self.reads


class StatisticsPrivacy(DraftPrivacy):
    """``weights``: by a query's name, how much of the budget it gets beside the others; 1 where none is given."""

    weights: dict[ColumnName, Weight] = Field(default_factory=dict)


class StatisticsDraft(DraftClauses):
    """In ``by``, a column's name alone stands for a yes-or-no column. A histogram or quantiles without ``edges`` get
    ``bins`` equal ones over the column's range, 20 where none are given."""

    kind: Literal["statistics"]
    data: ReadDraft
    privacy: StatisticsPrivacy
    minimum_cell: Annotated[int, Field(ge=LEAST_CELL, le=1_000_000)] = USUAL_CELL
    queries: Annotated[tuple[AnyQuestion, ...], Field(min_length=1, max_length=MAX_QUESTIONS)]
    sealing: Packing = Packing(values_per_slot=1)

    @model_validator(mode="after")
    def _known_weights(self) -> Self:
        unknown = sorted(set(self.privacy.weights) - {query.name for query in self.queries})
        if unknown:
            raise ValueError(f"privacy.weights: there is no query {unknown[0]}")
        return self


def long_form(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The draft with each axis and all edges written out; what is wrong with it is left for the model to refuse."""
    if not isinstance(given.get("queries"), list):
        return given
    ranges = _ranges(given.get("data"))
    return {**given, "queries": [_query(query, ranges) for query in given["queries"]]}


def equal_edges(low: float, high: float, bins: int) -> tuple[float, ...]:
    """The edges of ``bins`` equal bins from ``low`` to ``high``."""
    return (*(low + (high - low) * place / bins for place in range(bins)), high)


def _ranges(data: Any) -> dict[Any, tuple[Any, Any]]:
    reads = data.get("reads") if isinstance(data, dict) else None
    columns = [one for one in reads if isinstance(one, dict)] if isinstance(reads, list) else []
    return {str(one.get("name")): (one.get("minimum", 0), one.get("maximum", 1)) for one in columns}


def _query(query: Any, ranges: dict[Any, tuple[Any, Any]]) -> Any:
    if not isinstance(query, dict):
        return query
    long = dict(query)
    if isinstance(query.get("by"), list):
        long["by"] = [_axis(axis) for axis in query["by"]]
    if query.get("kind") in ("histogram", "quantiles") and "edges" not in query:
        bins, (low, high) = long.pop("bins", USUAL_BINS), ranges.get(str(query.get("column")), (None, None))
        if _number(low) and _number(high) and isinstance(bins, int) and 1 <= bins <= 1_000:
            long["edges"] = list(equal_edges(low, high, bins))
    return long


def _axis(axis: Any) -> Any:
    return {"name": axis, "columns": [axis]} if isinstance(axis, str) else axis


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
