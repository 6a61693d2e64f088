"""The contract of a benchmark's study: noise calibrated to an epsilon, all else constant."""

import math
from collections.abc import Mapping

from benchmarks.cohorts.cohort import Recipe
from protocol import accounting
from protocol.study import parse_training
from protocol.training_study import TrainingContract


def study_contract(
    recipe: Recipe, epsilon: float, published: Mapping[str, int], hidden: tuple[int, ...] = ()
) -> TrainingContract:
    """The study at this epsilon for these published row counts, its noise calibrated to just fit.

    Logistic regression, or with ``hidden`` layers an MLP. A silo weighs as the square root of its rows: between
    one silo, one voice, which accuracy by silo asks for, and one person, one voice, which noise asks for. None has
    more than half the weight, which a contract forbids.

    An infinite epsilon gives a contract without effective clipping, to be run with a noise source that adds none.
    """
    private = math.isfinite(epsilon)
    order = accounting.best_order(epsilon, recipe.delta) if private else accounting.MIN_ORDER
    plans = {
        "normalisation": accounting.Plan("gaussian", unit="record"),
        "training": accounting.Plan("sampled_gaussian", steps=recipe.rounds * recipe.local_steps, unit="record"),
        "evaluation": accounting.Plan("gaussian", unit="record"),
    }
    noise = dict.fromkeys(plans, 1e4)
    if private:
        noise = accounting.calibrate(epsilon, recipe.delta, order, recipe.shares, plans)
    roots = {silo: math.sqrt(rows) for silo, rows in published.items()}
    widest = max(9, max(published.values()).bit_length())  # a sum of values in [-1, 1], and a count
    return parse_training(
        {
            "format": "consortia-study/1",
            "title": recipe.title,
            "purpose": "method-research",
            "description": f"{recipe.target['name']} from {len(recipe.features)} features, a benchmark's study.",
            "legal_basis": recipe.legal_basis,
            "kind": "training",
            "lead": "researcher",
            "recipients": ["researcher"],
            "expires_at": "2100-01-01T00:00:00Z",
            "data": {
                "dataset": recipe.dataset,
                "features": list(recipe.features),
                "target": recipe.target,
            },
            "privacy": {
                "unit": "record",
                "epsilon": epsilon if private else 100.0,
                "delta": recipe.delta,
                "order": order,
            },
            "normalisation": {
                "columns": list(recipe.normalised),
                "clip": recipe.normalisation_clip if private else 1e3,
                "noise_multiplier": noise["normalisation"],
            },
            "model": {"family": "mlp", "hidden": list(hidden)} if hidden else {"family": "logistic"},
            "training": {
                "rounds": recipe.rounds,
                "local_steps": recipe.local_steps,
                "learning_rate": recipe.learning_rate,
                "weight_decay": 0.0,
                "clip": recipe.clip if private else 1e3,
                "noise_multiplier": noise["training"],
                "averaged_rounds": recipe.averaged_rounds,
            },
            "evaluation": {"test_share": recipe.test_share, "noise_multiplier": noise["evaluation"]},
            "silos": [
                {
                    "silo": silo,
                    "rows": rows,
                    "sampling_rate": 1.0,
                    "weight": roots[silo] / sum(roots.values()),
                    "normaliser": float(max(1, round(rows * (1 - recipe.test_share)))),
                }
                for silo, rows in published.items()
            ],
            "sealing": {
                "values_per_slot": 3,
                "normalisation_exponent": widest,
                "training_exponent": 1,
                "evaluation_exponent": widest,
            },
            "schedule": {"quorum": max(3, (len(published) + 3) // 2), "step_timeout_s": 60},
            "release": {"approvals": 2},
        }
    )
