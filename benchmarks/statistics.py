"""How far statistics are off, by rows and epsilon, beside the prediction: ``python -m benchmarks.statistics --json``.

A study of six questions over four silos, on made-up rows with the product's own sums, OpenDP's noise, encoding and
answers. ``error`` is the root mean square difference between an answer and the same over the very rows without noise,
``predicted`` what the contract's noise makes of it by the delta method (a quarter of the 95 % interval's width is about
one deviation, where nothing but noise is in it), ``covered`` how often the interval held the value.
"""

import argparse
import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from client.statistics.answers import answers
from client.statistics.bundle import StatisticsBundle
from client.statistics.estimates import Z
from protocol import canonical
from protocol.calibration import contract_of
from protocol.draft import parse_draft
from protocol.statistics_release import shown_totals
from protocol.statistics_study import StatisticsContract
from protocol.study import contract_value, parse_statistics, study_id
from protocol.yaml_draft import load_yaml
from silo_node.simulation.statistics import exact_totals, opened
from silo_node.statistics.mechanism import DiscreteGaussian
from silo_node.statistics.totals import noised_totals

Floats = NDArray[np.float64]

SAMPLE: Final = Path(__file__).parents[1] / "docs" / "samples" / "statistics.yaml"
SILOS: Final = ("cleveland", "hungarian", "switzerland", "va-long-beach")
QUESTIONS: Final[list[dict[str, Any]]] = [
    {"name": "rows", "kind": "count", "by": ["sex_male"]},
    {"name": "age_sum", "kind": "sum", "column": "age"},
    {"name": "age_mean", "kind": "mean", "column": "age"},
    {"name": "pressure", "kind": "variance", "column": "trestbps"},
    {"name": "ages", "kind": "histogram", "column": "age", "edges": [20, 40, 60, 90]},
    {"name": "rates", "kind": "missing", "of": ["thalach"]},
]
"""Those whose intervals are about the rows, so that nothing but noise is in the error."""


def contract_for(epsilon: float, rows: int) -> StatisticsContract:
    """The sample study with these questions at this epsilon; ``rows`` at each silo."""
    value = dict(load_yaml(SAMPLE.read_bytes())) | {"queries": QUESTIONS}
    asked = {"age", "sex_male", "trestbps", "thalach"}
    value["data"] = {**value["data"], "reads": [one for one in value["data"]["reads"] if one["name"] in asked]}
    value["privacy"] = {"unit": "record", "epsilon": epsilon, "delta": 1e-5}
    contract = contract_of(parse_draft(canonical.encode(value)), dict.fromkeys(SILOS, rows))
    return parse_statistics(contract_value(contract))


def rows_for(contract: StatisticsContract, count: int, seed: int) -> Floats:
    """Rows (count, d): numbers around the middle of their range, a tenth of thalach missing."""
    draws, columns = np.random.default_rng(seed), []
    for column in contract.data.reads:
        if column.kind == "binary":
            columns.append((draws.random(count) < 0.6).astype(float))
            continue
        middle, spread = (column.minimum + column.maximum) / 2, (column.maximum - column.minimum) / 6
        values = np.clip(draws.normal(middle, spread, count), column.minimum, column.maximum)
        columns.append(np.where(draws.random(count) < 0.1, np.nan, values) if column.name == "thalach" else values)
    return np.column_stack(columns)


def measured(epsilon: float, rows: int, repeats: int) -> Iterator[dict[str, Any]]:
    """For each question's first number: error, prediction and coverage over ``repeats`` studies."""
    contract = contract_for(epsilon, rows)
    silos = [rows_for(contract, rows, seed) for seed in range(len(SILOS))]
    truth = _values(contract, exact_totals(contract, silos))
    found = [
        _told(contract, opened([noised_totals(contract, one, DiscreteGaussian()) for one in silos], contract)[0])
        for _ in range(repeats)
    ]
    for name, exact in truth.items():
        told = [one[name] for one in found if name in one]
        errors = [value - exact for value, _, _ in told]
        yield {
            "epsilon": epsilon,
            "rows": rows * len(SILOS),
            "number": name,
            "value": exact,
            "error": math.sqrt(float(np.mean(np.square(errors)))) if errors else None,
            "predicted": float(np.median([(high - low) / 2 / Z for _, low, high in told])) if told else None,
            "covered": float(np.mean([low <= exact <= high for _, low, high in told])) if told else None,
        }


def _values(contract: StatisticsContract, totals: Floats) -> dict[str, float]:
    return {name: value for name, (value, _, _) in _told(contract, totals).items()}


def _told(contract: StatisticsContract, totals: Floats) -> dict[str, tuple[float, float, float]]:
    shown = {one.query: one.values for one in shown_totals(contract, totals.tolist())}
    bundle = StatisticsBundle(study_id(contract), contract, SILOS, shown)
    told = {}
    for one in answers(bundle):
        # A cell that is shown because noise lifted it over the minimum is off by more: those of few rows count on that.
        first = [line for line in one.lines if line.cell == one.lines[0].cell and line.about == "rows"]
        for line in first:
            if line.estimate is not None and line.estimate.value is not None:
                told[f"{one.name} {line.what}"] = (line.estimate.value, line.estimate.low, line.estimate.high)
    return told


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epsilons", type=float, nargs="+", default=[0.5, 1.0, 4.0])
    parser.add_argument("--rows", type=int, nargs="+", default=[100, 1_000, 10_000], help="at each of four silos")
    parser.add_argument("--repeats", type=int, default=100)
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    pairs = [(epsilon, rows) for epsilon in asked.epsilons for rows in asked.rows]
    found = [one for epsilon, rows in pairs for one in measured(epsilon, rows, asked.repeats)]
    if asked.json:
        print(json.dumps(found, indent=1))
        return
    table = Table("epsilon", "rows", "number", "value", "error", "predicted", "covered")
    for one in found:
        numbers = [one["value"], one["error"], one["predicted"]]
        shown = ["-" if number is None else f"{number:.4g}" for number in numbers]
        covered = "-" if one["covered"] is None else f"{one['covered']:.2f}"
        table.add_row(f"{one['epsilon']:g}", f"{one['rows']:,}", one["number"], *shown, covered)
    Console().print(table)


if __name__ == "__main__":
    main()
