"""The tightest epsilon that a finished study can report: by its privacy loss distribution.

A distribution composes only what was fixed beforehand, so this is never an admission rule: ledgers go by
`protocol.accounting`. It imports a library that takes over a second to load, and only when called.
"""

from collections import Counter
from collections.abc import Iterable

from protocol.accounting import (
    MAX_DELTA,
    MIN_DELTA,
    SENSITIVITY_SLACK,
    cost_of,
    epsilon_at,
    require_between,
)
from protocol.spend import Event, Gaussian, SampledGaussian, parse_events

MAX_PLD_EPSILON = 50.0
MAX_PLD_EVENTS = 32
"""Past these a privacy loss distribution takes minutes and gigabytes."""

ORDERS = range(2, 65)


def pld_epsilon(events: Iterable[Event], delta: float) -> float:
    """The tighter epsilon of a finished list of events, by their privacy loss distribution. For reports only.

    Composing by privacy loss distributions is no valid filter: never decide an admission by this number.
    Raises ValueError for events that would take minutes or gigabytes (measured: 3.5 s, 0.4 GB at the bound).
    """
    known = parse_events(tuple(events))
    merged = _merge(known)
    require_between("delta", delta, MIN_DELTA, MAX_DELTA)
    if len(merged) > MAX_PLD_EVENTS:
        raise ValueError(f"events has {len(merged)} different mechanisms; at most {MAX_PLD_EVENTS} can be reported")
    at_most = min(epsilon_at(cost_of(known, order), delta, order) for order in ORDERS)
    if at_most > MAX_PLD_EPSILON:
        raise ValueError(f"the events reach epsilon {at_most:.4g}; a report goes up to {MAX_PLD_EPSILON:g}")
    # Imported here: it takes over a second, and the hub and most commands never need it.
    from dp_accounting import NeighboringRelation, dp_event, pld

    accountant = pld.PLDAccountant(NeighboringRelation.ADD_OR_REMOVE_ONE)
    for (rate, noise_multiplier), times in merged.items():
        once = dp_event.GaussianDpEvent(noise_multiplier / (1 + SENSITIVITY_SLACK))
        accountant.compose(once if rate == 1.0 else dp_event.PoissonSampledDpEvent(rate, once), times)
    return float(accountant.get_epsilon(delta))


def _merge(events: Iterable[Event]) -> Counter[tuple[float, float]]:
    """How often each (sampling rate, noise multiplier) happens."""
    times: Counter[tuple[float, float]] = Counter()
    for event in events:
        match event:
            case Gaussian():
                times[1.0, event.noise_multiplier] += event.count
            case SampledGaussian():
                times[event.sampling_rate, event.noise_multiplier] += event.steps
    return times
