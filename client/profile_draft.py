"""The draft of a profile study: a look at a dataset before anything is trained, from its published schema alone.

Asked for: how many rows there are, the share of missing values of each column, how often each yes-or-no column is yes,
and how each number is spread over its declared range. Under differential privacy there is no exact smallest or largest
value: a histogram over the declared range shows where values lie.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import yaml

from client.errors import UsageRefused
from protocol.clauses import Purpose
from protocol.ids import timestamp
from protocol.membership_statements import DatasetRegistered
from protocol.published_column import PublishedColumn
from protocol.statistics_draft import USUAL_CELL, equal_edges
from protocol.statistics_study import MAX_QUESTIONS

BINS: Final = 10
MOST_COLUMNS: Final = MAX_QUESTIONS - 2
LIFETIME: Final = timedelta(days=30)
STEP_TIMEOUT_S: Final = 3600

_NOTE: Final = """\
# A profile study, made from the published schema of {dataset}. Look it through, then: consortia study propose FILE
# Ranges are the declared ones: with noise there is no exact smallest or largest value, so a histogram over the range
# shows where values lie. Fewer columns leave each query less noise.
"""


@dataclass(frozen=True, slots=True)
class ProfileAsked:
    """What a researcher says of a profile study; all else follows from what the silos published."""

    dataset: str
    person: str
    epsilon: float
    purpose: Purpose
    legal_basis: str
    columns: Collection[str] = ()
    """None: all."""


def profile_draft(asked: ProfileAsked, published: Mapping[str, DatasetRegistered], now: datetime) -> str:
    """The draft as YAML, for the silos of ``published``. Raises ``UsageRefused`` where no study of them can be."""
    columns = _columns(asked, published)
    value = {
        "format": "consortia-draft/1",
        "title": f"Profile of dataset {asked.dataset}",
        "purpose": asked.purpose,
        "description": "How many rows there are, what is missing, and how each column's values are spread.",
        "legal_basis": asked.legal_basis,
        "kind": "statistics",
        "lead": asked.person,
        "recipients": [asked.person],
        "expires_at": timestamp(now + LIFETIME),
        "data": {"dataset": asked.dataset, "reads": [_read(column) for column in columns]},
        "privacy": _privacy(asked, published),
        "minimum_cell": USUAL_CELL,
        "queries": _queries(columns),
        "silos": [{"silo": silo} for silo in published],
        "schedule": {"quorum": max(3, (len(published) + 3) // 2), "step_timeout_s": STEP_TIMEOUT_S},
        "release": {"approvals": min(2, len(published))},
    }
    return _NOTE.format(dataset=asked.dataset) + yaml.safe_dump(value, sort_keys=False, allow_unicode=True, width=100)


def _columns(asked: ProfileAsked, published: Mapping[str, DatasetRegistered]) -> list[PublishedColumn]:
    """Those that all silos have alike, over the widest range that any declared."""
    if len(published) < 3:
        raise UsageRefused(f"{len(published)} silos have dataset {asked.dataset}; a sum needs at least 3")
    held = [{column.name: column for column in one.columns} for one in published.values()]
    unknown = sorted(set(asked.columns) - set(held[0]))
    if unknown:
        raise UsageRefused(f"--columns: {unknown[0]} is no column of {asked.dataset}; see: consortia datasets")
    names = [name for name in held[0] if not asked.columns or name in asked.columns]
    columns = [_widest([one[name] for one in held if name in one]) for name in names]
    alike = [column for column in columns if all(_same(column, one.get(column.name)) for one in held)]
    if not alike:
        raise UsageRefused(f"the silos have no column of {asked.dataset} alike in name, kind and unit")
    if len(alike) > MOST_COLUMNS:
        raise UsageRefused(f"{len(alike)} columns, at most {MOST_COLUMNS} in one study; name some with --columns")
    return alike


def _widest(columns: list[PublishedColumn]) -> PublishedColumn:
    low, high = min(one.minimum for one in columns), max(one.maximum for one in columns)
    return columns[0].model_copy(update={"minimum": low, "maximum": high})


def _same(column: PublishedColumn, other: PublishedColumn | None) -> bool:
    if other is None:
        return False
    return (column.kind, column.unit, column.category) == (other.kind, other.unit, other.category)


def _privacy(asked: ProfileAsked, published: Mapping[str, DatasetRegistered]) -> dict[str, Any]:
    """The strongest unit and the smallest delta that any silo promises."""
    unit = "subject" if any(one.unit == "subject" for one in published.values()) else "record"
    return {"unit": unit, "epsilon": asked.epsilon, "delta": min(one.delta for one in published.values())}


def _read(column: PublishedColumn) -> dict[str, Any]:
    if column.kind == "binary":
        return {"name": column.name, "kind": "binary", "unit": column.unit}
    return column.model_dump(mode="json", include={"name", "kind", "minimum", "maximum", "unit"})


def _queries(columns: list[PublishedColumn]) -> list[dict[str, Any]]:
    declared = list(_as_declared(columns).items())
    return [
        {"name": "rows", "kind": "count"},
        {"name": "missing_values", "kind": "missing", "of": [held[0].name for _, held in declared]},
        *(_spread(f"column_{number}", *one) for number, one in enumerate(declared, start=1)),
    ]


def _as_declared(columns: list[PublishedColumn]) -> dict[str, list[PublishedColumn]]:
    """By the name it was declared under: a column, or the yes-or-no columns of a category."""
    held: dict[str, list[PublishedColumn]] = {}
    for column in columns:
        held.setdefault(column.category or column.name, []).append(column)
    return held


def _spread(name: str, declared: str, held: list[PublishedColumn]) -> dict[str, Any]:
    column = held[0]
    if len(held) > 1:
        by = {"name": declared, "columns": [one.name for one in held]}
        return {"name": name, "kind": "count", "by": [by]}
    if column.kind == "binary":
        return {"name": name, "kind": "count", "by": [column.name]}
    edges = list(equal_edges(column.minimum, column.maximum, BINS))
    return {"name": name, "kind": "histogram", "column": column.name, "edges": edges}
