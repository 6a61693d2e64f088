"""What mechanisms cost, as Renyi divergence at one integer order: the arithmetic of every ledger.

The admission rule is a Renyi filter (Feldman and Zrnic, "Individual Privacy Accounting via a Renyi Filter",
2021; Haney et al., "Concurrent Composition for Interactive Differential Privacy with Adaptive Privacy-Loss
Parameters", 2023): costs at one order, fixed when the privacy domain is registered, add up, and a charge is
admitted while the sum stays within the budget. That is sound for studies chosen adaptively and interleaved.
Adjacency is add-or-remove one unit.

Everything is computed in decimal arithmetic of 60 digits and ends in whole units of 1e-12, costs rounded up
and budgets down. So a silo and its mirror at the hub reach the same integer on every processor and libm, and
no float error can be farmed by many small charges.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Context, Decimal, localcontext
from functools import lru_cache
from typing import Literal

from protocol.spend import (
    MAX_NOISE_MULTIPLIER,
    MIN_NOISE_MULTIPLIER,
    PICOS,
    Cost,
    Event,
    Gaussian,
    SampledGaussian,
    Unit,
    parse_events,
)

SENSITIVITY_SLACK = 1e-5
"""What float32 summation may add to the clipping bound, in shares of it; charged on every event."""

MIN_ORDER = 2
MAX_ORDER = 256
MIN_DELTA = 1e-15
MAX_DELTA = 0.1
MAX_EPSILON = 1_000.0

_DIGITS = 60
_TINY = Decimal(10) ** -30


# Typed: else True, which equals 1, would be answered for an earlier 1 and never refused.
@lru_cache(maxsize=1024, typed=True)
def budget(epsilon: float, delta: float, order: int) -> Cost:
    """The divergence at `order` that (epsilon, delta) pays for, rounded down to whole units of 1e-12.

    B = epsilon - log((a-1)/a) + (log delta + log a)/(a-1) for order a: Proposition 12 of Canonne, Kamath and
    Steinke, "The Discrete Gaussian for Differential Privacy", 2020, turned around.
    Raises ValueError where the parameters are out of bounds, or pay for nothing at all at this order.
    """
    require_between("epsilon", epsilon, 0.0, MAX_EPSILON)
    with localcontext(_context()):
        exact = Decimal(epsilon) - _conversion(delta, order)
        picos = int((exact * PICOS).to_integral_value(ROUND_FLOOR))
    if picos <= 0:
        raise ValueError(
            f"epsilon {epsilon:g} at delta {delta:g} leaves a budget of {float(exact):.4g} at order {order}, "
            "which must be above 0: choose a larger epsilon or delta, or a higher order"
        )
    return picos


def epsilon_at(cost_picos: Cost, delta: float, order: int) -> float:
    """The epsilon, at `delta`, that a cost at `order` amounts to; the inverse of `budget`.

    Nothing spent is exactly 0; the first charge then shows the conversion's own constant as well.
    """
    if cost_picos < 0:
        raise ValueError(f"cost is {cost_picos}; it must be at least 0")
    if cost_picos == 0:
        return 0.0
    with localcontext(_context()):
        return max(0.0, float(Decimal(cost_picos) / PICOS + _conversion(delta, order)))


# Typed: else True, which equals 1, would be answered for an earlier 1 and never refused.
@lru_cache(maxsize=256, typed=True)
def best_order(epsilon: float, delta: float) -> int:
    """The order in 2..256 at which (epsilon, delta) pays for the most Gaussian noise: argmax of B/order.

    Raises ValueError where no order leaves a budget.
    """
    require_between("epsilon", epsilon, 0.0, MAX_EPSILON)
    with localcontext(_context()):
        worth = {a: (Decimal(epsilon) - _conversion(delta, a)) / a for a in range(MIN_ORDER, MAX_ORDER + 1)}
    best = max(worth, key=lambda order: worth[order])
    if worth[best] <= 0:
        raise ValueError(
            f"epsilon {epsilon:g} at delta {delta:g} leaves no budget at any order from {MIN_ORDER} to "
            f"{MAX_ORDER}: choose a larger epsilon or delta"
        )
    return best


def admits(spent_picos: Cost, ask_picos: Cost, cap_picos: Cost) -> bool:
    """The filter: whether the ask still fits under the cap, beside all that is reserved and settled."""
    if min(spent_picos, ask_picos, cap_picos) < 0:
        raise ValueError(f"spent {spent_picos}, ask {ask_picos}, cap {cap_picos}: each must be at least 0")
    return spent_picos + ask_picos <= cap_picos


def cost(event: Event, order: int) -> Cost:
    """The event's Renyi divergence at `order`, in units of 1e-12, rounded up and never 0.

    Raises ValueError for an event or an order out of bounds, before anything is computed.
    """
    (event,) = parse_events((event,))
    _require_order(order)
    match event:
        case Gaussian():
            return _cost(1.0, event.noise_multiplier, event.count, order)
        case SampledGaussian():
            return _cost(event.sampling_rate, event.noise_multiplier, event.steps, order)


def cost_of(events: Iterable[Event], order: int) -> Cost:
    """What the events cost together: independent noise adds up."""
    return sum(cost(event, order) for event in events)


@lru_cache(maxsize=4096)
def _cost(sampling_rate: float, noise_multiplier: float, times: int, order: int) -> Cost:
    with localcontext(_context()):
        # 1/sigma^2 in units of the sensitivity that is charged.
        precision = ((1 + Decimal(repr(SENSITIVITY_SLACK))) / Decimal(noise_multiplier)) ** 2
        if sampling_rate == 1.0:
            once = order * precision / 2  # Mironov, "Renyi Differential Privacy", 2017, Proposition 7.
        else:
            once = _sampled_gaussian(Decimal(sampling_rate), precision, order)
        return int((once * times * PICOS).to_integral_value(ROUND_CEILING))


def _sampled_gaussian(q: Decimal, precision: Decimal, order: int) -> Decimal:
    """Mironov, Talwar and Zhang, "Renyi Differential Privacy of the Sampled Gaussian Mechanism", 2019, 3.3.

    The moment is the sum over k of C(a,k) (1-q)^(a-k) q^k exp((k^2-k)/(2 sigma^2)). The binomial weights sum
    to 1, so each exponential is taken less 1: all terms are positive, nothing cancels, k = 0 and 1 fall out.
    """
    growth = precision.exp()
    excess, grown, power = Decimal(0), growth, growth * growth
    for k in range(2, order + 1):
        excess += math.comb(order, k) * (1 - q) ** (order - k) * q**k * (grown - 1)
        # exp(k(k-1)/2s^2) times exp(k/s^2) is the next one: a single call of exp serves all terms.
        grown, power = grown * power, power * growth
    # log(1+x) <= x, and below 1e-30 the digits of x would be lost in the sum.
    divergence = excess if excess < _TINY else (1 + excess).ln()
    return divergence / (order - 1)


@dataclass(frozen=True, slots=True)
class Plan:
    """One stage of a study before its noise is known; `steps` is the count of a plain Gaussian."""

    kind: Literal["sampled_gaussian", "gaussian"]
    steps: int = 1
    sampling_rate: float = 1.0
    unit: Unit = "subject"

    def event(self, noise_multiplier: float) -> Event:
        """The mechanism event that this stage becomes with that noise. Raises ValueError out of bounds."""
        raw: dict[str, object] = {"kind": self.kind, "noise_multiplier": noise_multiplier, "unit": self.unit}
        if self.kind == "gaussian":
            if self.sampling_rate != 1.0:
                raise ValueError(f"sampling_rate is {self.sampling_rate}; a plain gaussian takes everyone, so 1")
            raw["count"] = self.steps
        else:
            raw |= {"steps": self.steps, "sampling_rate": self.sampling_rate}
        (event,) = parse_events([raw])
        return event


def calibrate(
    epsilon: float, delta: float, order: int, shares: Mapping[str, float], plans: Mapping[str, Plan]
) -> dict[str, float]:
    """The smallest noise multiplier of each stage, rounded up to 4 decimals, with which all fit the budget.

    `shares` says what part of the budget at `order` goes to each stage of `plans`: above 0, at most 1 in all.
    Raises ValueError where the stages differ, the shares are no shares, or no allowed noise is enough.
    """
    if not plans or shares.keys() != plans.keys():
        raise ValueError(f"shares name the stages {sorted(shares)}, plans {sorted(plans)}: they must be the same")
    for stage, share in shares.items():
        require_between(f"shares[{stage}]", share, 0.0, 1.0)
    # The decimals that people wrote, .1 and .8 and .1, add up to 1; their binary neighbours may not.
    parts = {stage: Decimal(repr(float(share))) for stage, share in shares.items()}
    if sum(parts.values()) > 1:
        raise ValueError(f"shares add up to {sum(parts.values())}; at most 1 can be given away")
    whole = budget(epsilon, delta, order)
    return {
        stage: _least_noise(stage, plan, int((parts[stage] * whole).to_integral_value(ROUND_FLOOR)), order)
        for stage, plan in plans.items()
    }


def _least_noise(stage: str, plan: Plan, cap: Cost, order: int) -> float:
    """Bisection over the multiples of 1e-4, on which the cost falls strictly as the noise grows."""
    low, high = round(MIN_NOISE_MULTIPLIER * 10_000), round(MAX_NOISE_MULTIPLIER * 10_000)
    if cost(plan.event(high / 10_000), order) > cap:
        raise ValueError(
            f"{stage} can't fit its part of the budget ({cap / PICOS:.4g} at order {order}) with a noise "
            f"multiplier up to {MAX_NOISE_MULTIPLIER:g}: choose fewer steps, a larger share or epsilon"
        )
    while low < high:
        middle = (low + high) // 2
        if cost(plan.event(middle / 10_000), order) <= cap:
            high = middle
        else:
            low = middle + 1
    return high / 10_000


@lru_cache(maxsize=4096, typed=True)
def _conversion(delta: float, order: int) -> Decimal:
    """What epsilon is above the divergence at `order`: log((a-1)/a) - (log delta + log a)/(a-1)."""
    _require_order(order)
    require_between("delta", delta, MIN_DELTA, MAX_DELTA)
    a = Decimal(order)
    return ((a - 1) / a).ln() - (Decimal(delta).ln() + a.ln()) / (a - 1)


def _require_order(order: int) -> None:
    if not isinstance(order, int) or isinstance(order, bool) or not MIN_ORDER <= order <= MAX_ORDER:
        raise ValueError(f"order is {order!r}; it must be a whole number from {MIN_ORDER} to {MAX_ORDER}")


def require_between(field: str, value: float, low: float, high: float) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and low <= value <= high and value > 0):
        least = f"at least {low:g}" if low else "above 0"
        raise ValueError(f"{field} is {value!r}; it must be a number {least} and at most {high:g}")


def _context() -> Context:
    return Context(prec=_DIGITS)
