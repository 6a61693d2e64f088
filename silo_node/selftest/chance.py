"""How far a sound machine's figures stray: bounds on chance, each exceeded with probability ``ALARM`` or less.

Tails of the binomial are exact sums; the inequalities of Chernoff, Massart, and Laurent and Massart hold for any number
of draws. The normal distribution is used for correlations alone, over 10^5 products and more, and with four times the
room: products are skewed, which at such reaches more than doubles their tails.
"""

import math
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from silo_node.selftest.measured import ALARM

Floats = NDArray[np.float64]

_NORMAL = NormalDist()


def farthest_correlation(figures: int, alarm: float = ALARM) -> float:
    """What the largest of so many correlations, times the root of the pairs, exceeds with probability ``alarm``."""
    return -_NORMAL.inv_cdf(alarm / (2 * 4 * figures))


def farthest_deviation(draws: int, alarm: float = ALARM) -> tuple[float, float]:
    """Between which values the root mean square of ``draws`` standard normal draws lies.

    Laurent and Massart, "Adaptive Estimation of a Quadratic Functional by Model Selection", 2000, Lemma 1: a sum of n
    squares is above n + 2 sqrt(n x) + 2 x, or below n - 2 sqrt(n x), with a chance of exp(-x) each.
    """
    part = math.log(2 / alarm) / draws
    return math.sqrt(max(0.0, 1 - 2 * math.sqrt(part))), math.sqrt(1 + 2 * math.sqrt(part) + 2 * part)


def alarm_within(within: float, draws: int) -> float:
    """The chance that a root mean square of ``draws`` standard normal draws is off by more than ``within`` (of 1)."""
    low, high = 0.0, 700.0
    for _ in range(60):
        middle = (low + high) / 2
        least, most = farthest_deviation(draws, 2 * math.exp(-middle))
        low, high = (middle, high) if most <= 1 + within and least >= 1 - within else (low, middle)
    return min(1.0, 2 * math.exp(-low))


def farthest_distribution(draws: int, alarm: float = ALARM) -> float:
    """How far the empirical distribution of ``draws`` draws may be from the true one, anywhere.

    Massart, "The Tight Constant in the Dvoretzky-Kiefer-Wolfowitz Inequality", 1990; for every distribution.
    """
    return math.sqrt(math.log(2 / alarm) / (2 * draws))


def surprise(share: float, rate: float, draws: int) -> float:
    """draws * KL(share || rate) in nats: a share at least so surprising has a chance of 2 exp(-surprise) at most.

    Chernoff's bound, for the binomial distribution. Infinite where a rate of 0 or 1 was broken.
    """
    parts = ((share, rate), (1 - share, 1 - rate))
    if any(seen > 0 and expected <= 0 for seen, expected in parts):
        return math.inf
    return draws * sum(seen * math.log(seen / expected) for seen, expected in parts if seen > 0)


def most_surprise(figures: int, alarm: float = ALARM) -> float:
    """The bound on ``surprise`` for the most surprising of so many figures."""
    return math.log(2 * figures / alarm)


def log_binomial(trials: int, chance: float) -> Floats:
    """log P[k successes] for k = 0 .. trials, float64 (trials + 1,); ``chance`` strictly between 0 and 1."""
    logs = np.array([math.lgamma(k + 1) for k in range(trials + 1)])
    k = np.arange(trials + 1)
    found: Floats = logs[-1] - logs - logs[::-1] + k * math.log(chance) + (trials - k) * math.log1p(-chance)
    return found


def most_likely_rate(events: int, trials: int, alarm: float = ALARM) -> float:
    """The upper end of Clopper and Pearson's interval: a higher rate gives so few events with chance < ``alarm``."""
    low, high = events / trials, 1.0
    for _ in range(50):
        middle = (low + high) / 2
        fewer = float(np.exp(log_binomial(trials, middle)[: events + 1]).sum()) if middle < 1 else 0.0
        low, high = (middle, high) if fewer > alarm else (low, middle)
    return high


def normal_quantile(chance: float) -> float:
    """The standard normal's quantile; infinite at 0 and 1."""
    return _NORMAL.inv_cdf(chance) if 0 < chance < 1 else math.copysign(math.inf, chance - 0.5)
