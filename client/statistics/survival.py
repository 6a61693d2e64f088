"""The Kaplan-Meier curve (1958) from noised counts of events and of censored rows in each bin of time.

Within a bin events come before those censored, as the estimator takes ties. The interval is on the scale of
log(-log S); its variance is Greenwood's (1926) for the sampling and the delta method's for the noise.
"""

import math
from collections.abc import Sequence

Point = tuple[float | None, float, float]


def survival_curve(cell: Sequence[float], variance: float, z: float) -> list[Point]:
    """(estimate, low, high) of the share that outlives each bin; None and 0 to 1 once the noise drowned it.

    cell: events of each bin, those censored in each, those beyond the last; noise of ``variance`` on each.
    """
    bins = (len(cell) - 1) // 2
    events, censored = cell[:bins], cell[bins : 2 * bins]
    at_risk = [math.fsum((*events[k:], *censored[k:], cell[-1])) for k in range(bins)]
    points: list[Point] = []
    log_share, greenwood = 0.0, 0.0
    inverse_risk: list[float] = []
    inverse_left: list[float] = []
    for k in range(bins):
        died = min(max(events[k], 0.0), at_risk[k])
        left = at_risk[k] - died
        if at_risk[k] < 1 or left < 1 or (points and points[-1][0] is None):
            points.append((None, 0.0, 1.0))
            continue
        log_share += math.log(left / at_risk[k])
        greenwood += died / (at_risk[k] * left)
        inverse_risk.append(1 / at_risk[k])
        inverse_left.append(1 / left)
        error = greenwood + variance * _slopes_squared(inverse_risk, inverse_left, bins)
        points.append(_point(log_share, math.sqrt(error), z))
    return points


def _slopes_squared(inverse_risk: Sequence[float], inverse_left: Sequence[float], bins: int) -> float:
    """The squared gradient of log S by all counts.

    A row censored in bin j, or after the last reached, is at risk and left in every bin up to j; an event in bin j is
    at risk up to j and left before it.
    """
    reached = len(inverse_risk)
    total, stayed = 0.0, 0.0
    for j in range(reached):
        event = stayed - inverse_risk[j]
        stayed += inverse_left[j] - inverse_risk[j]
        total += event * event + stayed * stayed
    later = 2 * (bins - reached) + 1
    return total + later * stayed * stayed


def _point(log_share: float, error: float, z: float) -> Point:
    share = math.exp(log_share)
    if log_share >= 0.0:
        return share, max(0.0, math.exp(-z * error)), 1.0
    place, spread = math.log(-log_share), z * error / -log_share
    return share, math.exp(-math.exp(min(place + spread, 700.0))), math.exp(-math.exp(min(place - spread, 700.0)))
