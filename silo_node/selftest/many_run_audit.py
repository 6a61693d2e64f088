"""Many runs with one record and without: the likelihood-ratio test between them, held against the ledger's cost.

Nasr et al., "Tight Auditing of Differentially Private Machine Learning", 2023. Without sampling, T steps of noise are
exactly mu-Gaussian-DP with mu = sqrt(T) / noise multiplier, and the ledger charges alpha mu^2 / 2 at order alpha. The
test at the middle between the two means is the likelihood-ratio test; on a mu-GDP mechanism no test's two errors add up
to less than 2 Phi(-mu / 2) (Dong, Roth and Su, "Gaussian Differential Privacy", 2019). Of two binomial counts whose
rates have that sum, few errors in all are likeliest where the rates are equal (Hoeffding, "On the Distribution of the
Number of Successes in Independent Trials", 1956), so the errors of both sides are counted together.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
import torch
from torch import nn

from protocol.accounting import cost
from protocol.spend import PICOS, SampledGaussian
from silo_node.selftest.chance import most_likely_rate, normal_quantile
from silo_node.selftest.effort import Effort
from silo_node.selftest.engine import Engine, Floats
from silo_node.selftest.measured import ALARM, Measured
from silo_node.training.rows import TrainingRows

MU: Final = 3.0
"""Where a given number of runs tells most about the noise."""
_ORDER: Final = 2
_RATE: Final = 1e-9
"""So slow that the record's gradient is the same at every step."""


def many_run_figures(engine: Engine, effort: Effort) -> Iterator[Measured]:
    """The mu that the test's errors prove, below the one that is charged."""
    noise = round(math.sqrt(effort.steps) / MU, 4)
    event = SampledGaussian(sampling_rate=1.0, noise_multiplier=noise, steps=effort.steps, unit="record")
    without, with_one = (_scores(engine, effort, noise, records) for records in (0, 1))
    middle = effort.steps / 2
    errors = int(np.count_nonzero(without > middle) + np.count_nonzero(with_one <= middle))
    proved = max(0.0, -2 * normal_quantile(most_likely_rate(errors, 2 * effort.runs)))
    what = f"mu that {effort.runs} runs a side prove"
    yield Measured(check="many-runs", what=what, figure=proved, low=None, high=charged_mu(event), alarm=ALARM)


def charged_mu(event: SampledGaussian) -> float:
    """The mu of Gaussian DP whose divergence is what the ledger charges for an event without sampling."""
    return math.sqrt(2 * cost(event, _ORDER) / PICOS / _ORDER)


def _scores(engine: Engine, effort: Effort, noise: float, records: int) -> Floats:
    """How far each run of the optimizer's steps moved along the record's gradient, over the clipping bound."""
    model = nn.Sequential(nn.Linear(1, 1, dtype=torch.float64))
    held = list(model.parameters())
    optimizer = engine.optimizer(
        model,
        learning_rate=_RATE,
        weight_decay=0.0,
        clip=1.0,
        noise_multiplier=noise,
        normaliser=1.0,
        noise=engine.noise,
    )
    rows = TrainingRows(np.full((records, 1), 1e3), np.ones(records))
    scores = np.empty(effort.runs)
    for run in range(effort.runs):
        with torch.no_grad():
            for parameter in held:
                parameter.zero_()
        for _ in range(effort.steps):
            inputs, target = engine.sampled(rows, 1.0, engine.noise)
            optimizer.private_step(torch.from_numpy(inputs), torch.from_numpy(target))
        scores[run] = held[0].item() / _RATE
    return scores
