"""The contract of the heart benchmarks: four hospitals, noise calibrated to an epsilon, all else constant."""

import math
from collections.abc import Mapping
from typing import Final

from compose.heart import FEATURES, SCHEMA, TARGET
from protocol import accounting
from protocol.study import parse_training
from protocol.training_study import TrainingContract
from silo_node.dataset.schema import parse_schema

DELTA: Final = 1e-3
TEST_SHARE: Final = 0.34
NORMALISED: Final = ("age", "trestbps", "chol", "thalach", "oldpeak")
# All values below were chosen on 20 random splits, the reference one not among them.
SHARES: Final = {"normalisation": 0.10, "training": 0.75, "evaluation": 0.15}
ROUNDS: Final = 15
LOCAL_STEPS: Final = 5
LEARNING_RATE: Final = 0.3
CLIP: Final = 1.0
NORMALISATION_CLIP: Final = 1.5
AVERAGED_ROUNDS: Final = 5


def heart_contract(epsilon: float, published: Mapping[str, int], hidden: tuple[int, ...] = ()) -> TrainingContract:
    """The study at this epsilon for these published row counts, its noise calibrated to just fit.

    Logistic regression, or with ``hidden`` layers an MLP. A silo weighs as the square root of its rows: between
    one hospital, one voice, which accuracy by hospital asks for, and one patient, one voice, which noise asks for.

    An infinite epsilon gives a contract without effective clipping, to be run with a noise source that adds none.
    """
    private = math.isfinite(epsilon)
    order = accounting.best_order(epsilon, DELTA) if private else accounting.MIN_ORDER
    plans = {
        "normalisation": accounting.Plan("gaussian", unit="record"),
        "training": accounting.Plan("sampled_gaussian", steps=ROUNDS * LOCAL_STEPS, unit="record"),
        "evaluation": accounting.Plan("gaussian", unit="record"),
    }
    noise = dict.fromkeys(plans, 1e4)
    if private:
        noise = accounting.calibrate(epsilon, DELTA, order, SHARES, plans)
    schema = {column.name: column for column in parse_schema(SCHEMA, "compose.heart").expanded}
    roots = {silo: math.sqrt(rows) for silo, rows in published.items()}
    return parse_training(
        {
            "format": "consortia-study/1",
            "title": "Heart disease across four hospitals",
            "purpose": "method-research",
            "description": "Angiographic heart disease from 13 features, the benchmark's study.",
            "legal_basis": "Published research data, CC BY 4.0.",
            "kind": "training",
            "lead": "researcher",
            "recipients": ["researcher"],
            "expires_at": "2100-01-01T00:00:00Z",
            "data": {
                "dataset": "heart",
                "features": [schema[name].model_dump() for name in FEATURES],
                "target": schema[TARGET].model_dump(),
            },
            "privacy": {"unit": "record", "epsilon": epsilon if private else 100.0, "delta": DELTA, "order": order},
            "normalisation": {
                "columns": list(NORMALISED),
                "clip": NORMALISATION_CLIP if private else 1e3,
                "noise_multiplier": noise["normalisation"],
            },
            "model": {"family": "mlp", "hidden": list(hidden)} if hidden else {"family": "logistic"},
            "training": {
                "rounds": ROUNDS,
                "local_steps": LOCAL_STEPS,
                "learning_rate": LEARNING_RATE,
                "weight_decay": 0.0,
                "clip": CLIP if private else 1e3,
                "noise_multiplier": noise["training"],
                "averaged_rounds": AVERAGED_ROUNDS,
            },
            "evaluation": {"test_share": TEST_SHARE, "noise_multiplier": noise["evaluation"]},
            "silos": [
                {
                    "silo": silo,
                    "rows": rows,
                    "sampling_rate": 1.0,
                    "weight": roots[silo] / sum(roots.values()),
                    "normaliser": float(max(1, round(rows * (1 - TEST_SHARE)))),
                }
                for silo, rows in published.items()
            ],
            "sealing": {
                "values_per_slot": 3,
                "normalisation_exponent": 9,
                "training_exponent": 1,
                "evaluation_exponent": 9,
            },
            "schedule": {"quorum": 3, "step_timeout_s": 60},
            "release": {"approvals": 2},
        }
    )
