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

from protocol.accounting import cost_of
from protocol.spend import PICOS
from protocol.study import StudyContract, training_events
from silo_node.selftest.chance import most_likely_rate, normal_quantile
from silo_node.selftest.effort import Effort
from silo_node.selftest.engine import Engine, Floats
from silo_node.selftest.measured import ALARM, Measured
from silo_node.selftest.specimen import SILO, beginning, study, summed
from silo_node.training.rows import TrainingRows

MU: Final = 3.0
"""Where a given number of runs tells most about the noise."""
_ORDER: Final = 2
_FEATURES: Final = 2


def many_run_figures(engine: Engine, effort: Effort) -> Iterator[Measured]:
    """The mu that the test's errors prove, below the one that is charged."""
    noise = round(math.sqrt(effort.steps) / MU, 4)
    contract = study(_FEATURES, steps=effort.steps, rate=1.0, noise=noise, clip=1.0)
    without, with_one = (_scores(engine, contract, effort.runs, records) for records in (0, 1))
    middle = effort.steps / 2
    errors = int(np.count_nonzero(without > middle) + np.count_nonzero(with_one <= middle))
    proved = max(0.0, -2 * normal_quantile(most_likely_rate(errors, 2 * effort.runs)))
    what = f"mu that {effort.runs} runs a side prove"
    yield Measured(check="many-runs", what=what, figure=proved, low=None, high=charged_mu(contract), alarm=ALARM)


def charged_mu(contract: StudyContract) -> float:
    """The mu of Gaussian DP whose divergence is what the ledger charges for the round's training."""
    return math.sqrt(2 * cost_of(training_events(contract, SILO), _ORDER) / PICOS / _ORDER)


def _scores(engine: Engine, contract: StudyContract, runs: int, records: int) -> Floats:
    """How far each run moved along the record's gradient, in units of the clipping bound."""
    rows = TrainingRows(np.tile([1.0, 0.0], (records, 1)), np.ones(records))
    state = beginning(contract, deviation=1e-3)
    scores = np.empty(runs)
    for run in range(runs):
        update = engine.train_round(contract, SILO, rows, state, engine.noise).vector
        scores[run] = -summed(contract, update)[0]
    return scores
