"""How far a noised AUC and accuracy are off: ``python -m benchmarks.metric_error --json``.

A model that is calibrated scores held-out rows of four silos; each silo adds the noise of its evaluation through the
product's own noise source. What is measured is the root mean square error of the figures over many studies with fresh
rows and noise, and beside it the standard error that ``protocol.scores`` predicts from the noised counts alone: their
ratio should be 1. Epsilon is what the evaluation alone costs at delta 1e-4, by the ledger's arithmetic.
"""

import argparse
import json
import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocol import accounting
from protocol.scores import Estimate, Scores
from silo_node.training.noise import SystemNoise

Floats = NDArray[np.float64]

SILOS: Final = 4
DELTA: Final = 1e-4
EDGES: Final = tuple(round(0.05 * place, 9) for place in range(1, 20))
EPSILONS: Final = (0.5, 1.0, 4.0)
ROWS: Final = (1_000, 4_000, 16_000, 64_000)


def measure(tries: int) -> list[dict[str, Any]]:
    """A row for each epsilon and number of held-out rows."""
    return [_row(epsilon, rows, tries) for epsilon in EPSILONS for rows in ROWS]


def _row(epsilon: float, rows: int, tries: int) -> dict[str, Any]:
    order = accounting.best_order(epsilon, DELTA)
    plan = {"evaluation": accounting.Plan("gaussian", unit="record")}
    noise = accounting.calibrate(epsilon, DELTA, order, {"evaluation": 1.0}, plan)["evaluation"]
    draw, truth = np.random.default_rng(rows), _drawn(np.random.default_rng(0), 4_000_000)
    found = [_noised(draw, rows, noise) for _ in range(tries)]
    exact = Scores(truth, EDGES, 0.0)
    return {
        "epsilon": epsilon,
        "rows": rows,
        "noise_multiplier": noise,
        "auc": _errors(exact.auc(), [one.auc() for one in found]),
        "accuracy": _errors(exact.accuracy(), [one.accuracy() for one in found]),
    }


def _errors(truth: Estimate | None, told: list[Estimate | None]) -> dict[str, float]:
    assert truth is not None
    known = [one for one in told if one is not None]
    if not known:
        return {"told": 0.0}
    error = math.sqrt(float(np.mean([(one.value - truth.value) ** 2 for one in known])))
    predicted = math.sqrt(float(np.mean([one.standard_error**2 for one in known])))
    return {
        "told": len(known) / len(told),
        "error": round(error, 5),
        "predicted": round(predicted, 5),
        "ratio": round(error / predicted, 3),
    }


def _noised(draw: np.random.Generator, rows: int, noise: float) -> Scores:
    cells = sum(SystemNoise().add_gaussian(_drawn(draw, rows // SILOS).ravel(), noise, 1.0) for _ in range(SILOS))
    counts = np.asarray(cells).reshape(1, 1, 2, len(EDGES) + 1)
    return Scores(counts, EDGES, SILOS * (noise**2 + 1 / 12))


def _drawn(draw: np.random.Generator, rows: int) -> Floats:
    """The histogram of so many rows, of which each has the target with the probability that it is given."""
    scores = draw.beta(2, 3, rows)
    labels = (draw.random(rows) < scores).astype(np.int64)
    counts = np.zeros((1, 1, 2, len(EDGES) + 1))
    np.add.at(counts[0, 0], (labels, np.searchsorted(EDGES, scores)), 1)
    return counts


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=300, help="studies a figure")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    rows = measure(asked.tries)
    if asked.json:
        print(json.dumps({"delta": DELTA, "silos": SILOS, "tries": asked.tries, "figures": rows}))
        return
    for row in rows:
        print(f"epsilon {row['epsilon']:g}, {row['rows']} rows: AUC {row['auc']}, accuracy {row['accuracy']}")


if __name__ == "__main__":
    main()
