"""A small statistics contract with every kind of question, and rows to ask it of."""

from typing import Any

import numpy as np

from protocol.statistics_study import StatisticsContract
from protocol.study import parse_statistics
from tests.sample_study import SILOS, contract_values

AGES = [20.0, 40.0, 60.0, 80.0]
TIMES = [0.0, 5.0, 10.0, 20.0]


def number(name: str, low: float, high: float) -> dict[str, Any]:
    return {"name": name, "kind": "number", "minimum": low, "maximum": high, "unit": ""}


def binary(name: str) -> dict[str, Any]:
    return {"name": name, "kind": "binary", "minimum": 0.0, "maximum": 1.0, "unit": ""}


SEX = {"name": "sex", "columns": ["sex"], "edges": None}
WARD = {"name": "ward", "columns": ["ward_a", "ward_b", "ward_c"], "edges": None}
OLD = {"name": "old", "columns": ["age"], "edges": [20.0, 60.0, 80.0]}

READS = [
    number("age", 20, 80), number("weight", -50, 150), number("months", 0, 30), binary("sex"), binary("ill"),
    binary("ward_a"), binary("ward_b"), binary("ward_c"),
]  # fmt: skip
QUESTIONS: list[dict[str, Any]] = [
    {"kind": "count", "name": "rows", "by": []},
    {"kind": "count", "name": "cells", "by": [SEX, WARD, OLD]},
    {"kind": "sum", "name": "weights", "column": "weight", "by": [SEX]},
    {"kind": "mean", "name": "ages", "column": "age", "by": [SEX]},
    {"kind": "variance", "name": "spread", "column": "weight", "by": []},
    {"kind": "histogram", "name": "bins", "column": "age", "edges": AGES, "by": [SEX]},
    {"kind": "quantiles", "name": "halves", "column": "age", "probabilities": [0.25, 0.5], "edges": AGES, "by": [SEX]},
    {"kind": "contingency", "name": "table", "by": [WARD, SEX]},
    {"kind": "correlation", "name": "together", "of": ["age", "weight", "months"], "by": []},
    {"kind": "missing", "name": "gaps", "of": ["age", "weight", "ill"], "by": [SEX]},
    {"kind": "survival", "name": "lives", "time": "months", "event": "ill", "edges": TIMES, "by": [SEX]},
]


def statistics_values(questions: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A valid statistics contract as JSON types; ``changes`` replace whole top-level fields."""
    value = contract_values()
    for field in ("normalisation", "model", "training", "evaluation"):
        del value[field]
    value |= {
        "kind": "statistics",
        "data": {"dataset": "heart", "reads": READS},
        "minimum_cell": 5,
        "queries": [{"question": one, "noise_multiplier": 8.0} for one in questions or QUESTIONS],
        "silos": [{"silo": name, "rows": 100} for name in SILOS],
        "sealing": {"values_per_slot": 1, "bits": None},
    }
    return {**value, **changes}


def statistics(questions: list[dict[str, Any]] | None = None, **changes: Any) -> StatisticsContract:
    return parse_statistics(statistics_values(questions, **changes))


def about(*questions: dict[str, Any], noise: float = 8.0, **changes: Any) -> StatisticsContract:
    """A contract of these questions alone, which reads what they are about."""
    value = statistics_values(list(questions), **changes)
    value["queries"] = [{"question": one, "noise_multiplier": noise} for one in questions]
    asked = {name for one in questions for name in columns_of(one)} or {"sex"}
    value["data"] = {"dataset": "heart", "reads": [one for one in READS if one["name"] in asked]}
    return parse_statistics(value)


def columns_of(question: dict[str, Any]) -> set[str]:
    named = {question[field] for field in ("column", "time", "event") if field in question}
    return named | set(question.get("of", ())) | {name for axis in question["by"] for name in axis["columns"]}


def rows(count: int, seed: int = 1, missing: float = 0.1) -> np.ndarray:
    """Values (count, 8) in the order of ``READS``; age and weight go together, and a share of each is missing."""
    draws = np.random.default_rng(seed)
    age = draws.uniform(20, 80, count).round(1)
    weight = np.clip(20 + age + draws.normal(0, 25, count), -50, 150)
    ward = draws.integers(0, 3, count)
    columns = [
        age, weight, np.clip(draws.exponential(9, count), 0, 30), draws.integers(0, 2, count),
        draws.random(count) < 0.6, ward == 0, ward == 1, ward == 2,
    ]  # fmt: skip
    values = np.column_stack(columns).astype(float)
    values[draws.random(values.shape) < missing] = np.nan
    return values
