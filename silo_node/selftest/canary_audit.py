"""One run, a thousand canaries: what a whole training tells of who was in it, held against the ledger's epsilon.

Steinke, Nasr and Jagielski, "Privacy Auditing with One (1) Training Run", 2023. Each canary is in by a fair coin. Its
gradient has a direction of its own, so its score is what the model moved along it. Who guesses from the scores can be
right only so often if the training is (epsilon, delta)-DP: Theorem 5.2 there, for guesses with abstentions.
"""

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.accounting import MAX_ORDER, MIN_ORDER, cost_of, epsilon_at
from protocol.training_study import TrainingContract, training_events
from silo_node.selftest.chance import log_binomial
from silo_node.selftest.effort import Effort
from silo_node.selftest.engine import Engine, Floats
from silo_node.selftest.measured import ALARM, Measured
from silo_node.selftest.specimen import SILO, beginning, study, summed
from silo_node.training.rows import TrainingRows

CANARIES: Final = 1_000
_GUESSES: Final = 700
_DELTA: Final = 1e-12
_STEPS: Final = 4
_RATE: Final = 0.5
_NOISE: Final = 4.0
_LENGTH: Final = 1e-3
"""Inputs are rows over this: a canary's gradient is 500 times the clipping bound."""


def canary_figures(engine: Engine, effort: Effort, random: np.random.Generator) -> Iterator[Measured]:
    """The largest lower bound on epsilon that the audits prove, below what the ledger charges for the same."""
    contract = study(CANARIES, steps=_STEPS, rate=_RATE, noise=_NOISE, clip=1.0)
    proved = max(proved_epsilon(*_guessed(engine, contract, random), effort.canaries) for _ in range(effort.canaries))
    charged = charged_epsilon(contract, _DELTA)
    what = f"epsilon that {CANARIES} canaries prove"
    yield Measured(check="canaries", what=what, figure=proved, low=None, high=charged, alarm=ALARM)


def charged_epsilon(contract: TrainingContract, delta: float) -> float:
    """What the ledger's arithmetic makes of one round's training, at the order that suits it best."""
    events = training_events(contract, SILO)
    return min(epsilon_at(cost_of(events, order), delta, order) for order in range(MIN_ORDER, MAX_ORDER + 1, 2))


def proved_epsilon(right: int, guesses: int, audits: int = 1) -> float:
    """The largest epsilon at which so many right guesses would have a chance of ``ALARM`` / audits or less; or 0."""
    low, high = 0.0, 20.0
    if chance_of(right, guesses, low) > ALARM / audits:
        return 0.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if chance_of(right, guesses, middle) <= ALARM / audits else (low, middle)
    return low


def chance_of(right: int, guesses: int, epsilon: float) -> float:
    """A bound on the chance of ``right`` or more right guesses against any (epsilon, delta)-DP training."""
    pure = np.exp(log_binomial(guesses, 1 / (1 + math.exp(-epsilon))))
    tail = float(pure[right:].sum())
    # What delta adds: the largest over i of P[right - i <= correct < right] / i.
    below = np.cumsum(pure[:right][::-1])
    added = float(np.max(below / np.arange(1, right + 1))) if right else 0.0
    return min(1.0, tail + 2 * CANARIES * _DELTA * added)


def _guessed(engine: Engine, contract: TrainingContract, random: np.random.Generator) -> tuple[int, int]:
    """How many guesses are right, and of how many: the highest scores are taken for in, the lowest for out."""
    inside = random.random(CANARIES) < 0.5
    scores = _scores(engine, contract, inside)
    order = np.argsort(scores)
    half = _GUESSES // 2
    right = np.count_nonzero(inside[order[-half:]]) + np.count_nonzero(~inside[order[:half]])
    return int(right), _GUESSES


def _scores(engine: Engine, contract: TrainingContract, inside: NDArray[np.bool_]) -> Floats:
    canaries = np.eye(CANARIES)[inside]
    rows = TrainingRows(canaries, np.ones(len(canaries)))
    update = engine.train_round(contract, SILO, rows, beginning(contract, _LENGTH), engine.noise).vector
    return -summed(contract, update)[:CANARIES]
