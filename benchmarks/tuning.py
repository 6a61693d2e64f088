"""What a study's settings do to its accuracy: ``python -m benchmarks.tuning --cohort heart --epsilon 1 --json``.

One setting is changed at a time from the sample draft's, and whole studies are simulated as ``consortia study
simulate`` does (``silo_node.simulation``): normalisation, training and evaluation charged, the noise calibrated anew. A
repeat has one random split into training and held-out rows for all settings, so a difference from the drafted study is
a mean of differences on the same split, and its standard error theirs. The published split of the heart cohort is not
among them.
"""

import argparse
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from benchmarks.cohorts.cohort import Cohort, Recipe
from benchmarks.cohorts.heart import heart
from benchmarks.cohorts.randhie import randhie
from protocol import canonical
from protocol.simulation import SimulationOutcome
from protocol.training_calibration import training_contract
from protocol.training_draft import TrainingDraft
from protocol.training_study import TrainingContract
from silo_node.simulation.rounds import simulate
from silo_node.simulation.rows import split
from silo_node.training.noise import SystemNoise

Floats = NDArray[np.float64]
Change = dict[str, Any]

COHORTS: Final[dict[str, Callable[[], Cohort]]] = {"heart": heart, "randhie": randhie}
FIRST_SPLIT: Final = 1_000
SETTINGS: Final[dict[str, Change]] = {
    "as drafted": {},
    "clip a quarter": {"clip": 0.25},
    "clip a half": {"clip": 0.5},
    "clip doubled": {"clip": 2.0},
    "clip fourfold": {"clip": 4.0},
    "learning rate a third": {"learning_rate": 1 / 3},
    "learning rate threefold": {"learning_rate": 3.0},
    "5 rounds of 5 steps": {"rounds": 5, "local_steps": 5},
    "45 rounds of 5 steps": {"rounds": 45, "local_steps": 5},
    "75 rounds of 1 step": {"rounds": 75, "local_steps": 1},
    "5 rounds of 15 steps": {"rounds": 5, "local_steps": 15},
    "only the last round's state": {"averaged_rounds": 1},
    "sampling rate a half": {"sampling_rate": 0.5},
    "sampling rate a tenth": {"sampling_rate": 0.1},
    "one column normalised": {"normalised": 1},
    "evaluation gets 5 %": {"shares": (0.10, 0.85, 0.05)},
    "evaluation gets 40 %": {"shares": (0.10, 0.50, 0.40)},
    "weights by rows": {"weights": "rows"},
    "an MLP of 8": {"hidden": [8]},
    "half of the rows": {"share_of_rows": 0.5},
    "a quarter of the rows": {"share_of_rows": 0.25},
}
"""Changes of the sample: factors of clip, learning rate and rows; everything else as it stands."""


@dataclass(frozen=True, slots=True)
class Result:
    """Of one study: exact accuracy over all held-out rows, and the standard error of what its release tells of it."""

    exact: float
    told_error: float | None


def contract_of(recipe: Recipe, published: dict[str, int], epsilon: float, change: Change) -> TrainingContract:
    """The study that a draft with this change makes."""
    normalisation, training, evaluation = change.get("shares", tuple(recipe.shares.values()))
    rounds = change.get("rounds", recipe.rounds)
    value = {
        "format": "consortia-draft/1",
        "title": recipe.title,
        "purpose": "method-research",
        "description": "One setting changed.",
        "legal_basis": recipe.legal_basis,
        "kind": "training",
        "lead": "researcher",
        "recipients": ["researcher"],
        "expires_at": "2100-01-01T00:00:00Z",
        "data": {"dataset": recipe.dataset, "features": recipe.features, "target": recipe.target},
        "privacy": {
            "unit": "record",
            "epsilon": epsilon,
            "delta": recipe.delta,
            "shares": {"normalisation": normalisation, "training": training, "evaluation": evaluation},
        },
        "normalisation": {
            "columns": recipe.normalised[: change.get("normalised")],
            "clip": recipe.normalisation_clip,
        },
        "model": {"family": "mlp", "hidden": change["hidden"]} if "hidden" in change else {"family": "logistic"},
        "training": {
            "rounds": rounds,
            "local_steps": change.get("local_steps", recipe.local_steps),
            "learning_rate": recipe.learning_rate * change.get("learning_rate", 1.0),
            "weight_decay": 0.0,
            "clip": recipe.clip * change.get("clip", 1.0),
            "averaged_rounds": change.get("averaged_rounds", min(recipe.averaged_rounds, rounds)),
        },
        "evaluation": {"test_share": recipe.test_share},
        "weights": change.get("weights", "sqrt-rows"),
        "silos": [{"silo": silo, "sampling_rate": change.get("sampling_rate", 1.0)} for silo in published],
        "sealing": {"normalisation_exponent": 12, "training_exponent": 1, "evaluation_exponent": 12},
        "schedule": {"quorum": max(3, (len(published) + 3) // 2), "step_timeout_s": 60},
        "release": {"approvals": 2},
    }
    return training_contract(TrainingDraft.model_validate_json(canonical.encode(value)), published)


def run(cohort: Cohort, epsilon: float, change: Change, repeat: int) -> Result:
    """One whole study on the split of this repeat."""
    tables = {silo: _rows(cohort, silo, change, repeat) for silo in cohort.silos}
    contract = contract_of(cohort.recipe, {silo: len(table) for silo, table in tables.items()}, epsilon, change)
    rows = {silo: split(contract, table, FIRST_SPLIT + repeat) for silo, table in tables.items()}
    last = None
    for report in simulate(contract, rows, SystemNoise()):
        last = report
    assert isinstance(last, SimulationOutcome) and last.exact is not None
    return Result(last.exact, last.standard_error)


def _rows(cohort: Cohort, silo: str, change: Change, repeat: int) -> Floats:
    """All rows of a silo (n, d + 1), or a share of them that is drawn anew in each repeat."""
    one = cohort.silos[silo]
    sides = [np.column_stack([side.features, side.target]) for side in (one.training, one.held_out)]
    table = np.concatenate(sides)
    share = change.get("share_of_rows", 1.0)
    if share >= 1:
        return table
    chosen = np.random.default_rng([FIRST_SPLIT, repeat]).permutation(len(table))
    return table[chosen[: round(share * len(table))]]


def measure(cohort: Cohort, epsilon: float, repeats: int) -> Iterator[dict[str, Any]]:
    """A line a setting, its differences from the first one's."""
    drafted: list[Result] = []
    for name, change in SETTINGS.items():
        results = [run(cohort, epsilon, change, repeat) for repeat in range(repeats)]
        drafted = drafted or results
        yield _line(name, results, drafted)


def noise(cohort: Cohort, epsilon: float) -> Iterator[dict[str, Any]]:
    """The noise of each setting, by arithmetic alone: of a step, and of the mean gradient at the largest silo.

    The latter is noise multiplier * clip / expected batch, by parameter: what learning has to make itself heard over.
    """
    for name, change in SETTINGS.items():
        rows = {silo: round(count * change.get("share_of_rows", 1.0)) for silo, count in cohort.published.items()}
        contract = contract_of(cohort.recipe, rows, epsilon, change)
        largest, training = max(contract.silos, key=lambda one: one.rows), contract.training
        of_mean = training.noise_multiplier * training.clip / largest.normaliser
        yield {"setting": name, "noise_multiplier": training.noise_multiplier, "noise_of_mean": round(of_mean, 4)}


def _line(name: str, results: list[Result], drafted: list[Result]) -> dict[str, Any]:
    apart = [one.exact - other.exact for one, other in zip(results, drafted, strict=True)]
    told = [one.told_error for one in results if one.told_error is not None]
    return {
        "setting": name,
        "accuracy": round(fmean(one.exact for one in results), 4),
        "one_study_strays": round(stdev(one.exact for one in results), 4),
        "better_by": round(fmean(apart), 4),
        "better_by_error": round(stdev(apart) / math.sqrt(len(apart)), 4),
        "release_errs_by": round(fmean(told), 4) if told else None,
    }


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", choices=sorted(COHORTS), default="heart")
    parser.add_argument("--epsilon", type=float, default=1.0, help="the whole study's, at every silo")
    parser.add_argument("--repeats", type=int, default=20, help="studies a setting, each on a split of its own; from 2")
    parser.add_argument("--noise", action="store_true", help="tell each setting's noise, and train nothing")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    cohort, started, lines = COHORTS[asked.cohort](), time.perf_counter(), []
    if asked.noise:
        for line in noise(cohort, asked.epsilon):
            told = f"{line['setting']:28} {line['noise_multiplier']:8.3f} {line['noise_of_mean']:.4f}"
            print(json.dumps(line) if asked.json else told)
        return
    for line in measure(cohort, asked.epsilon, asked.repeats):
        lines.append(line)
        if not asked.json:
            apart = f"{line['better_by']:+.3f} +- {line['better_by_error']:.3f}"
            print(f"{line['setting']:28} {line['accuracy']:.3f} {apart}")
    if asked.json:
        head = {"cohort": asked.cohort, "epsilon": asked.epsilon, "delta": cohort.recipe.delta}
        seconds = round(time.perf_counter() - started, 1)
        print(json.dumps({**head, "repeats": asked.repeats, "seconds": seconds, "settings": lines}))


if __name__ == "__main__":
    main()
