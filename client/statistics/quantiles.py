"""A quantile from noised bins: where the distribution function may cross its share (Woodruff, 1952).

Nothing is known of where rows lie within a bin: an estimate takes them as spread evenly, an interval ends at edges.
"""

import math
from collections.abc import Sequence
from itertools import accumulate


def quantile_interval(
    counts: Sequence[float], edges: Sequence[float], share: float, variance: float, z: float
) -> tuple[float, float, float]:
    """(estimate, low, high) of the quantile at ``share``; ``counts`` of the bins have noise of this variance each.

    At an edge with k bins below and m above, the rows below less ``share`` of all have variance
    n share (1 - share) + v (k (1 - share)^2 + m share^2): sampling, then noise.
    """
    total, bins = math.fsum(counts), len(counts)
    below = [0.0, *accumulate(counts)]
    reach = [
        z * math.sqrt(max(total, 0.0) * share * (1 - share) + variance * _weight(place, bins, share))
        for place in range(bins + 1)
    ]
    short = [place for place in range(1, bins) if below[place] - share * total < -reach[place]]
    over = [place for place in range(1, bins) if below[place] - share * total > reach[place]]
    low = max((place for place in short if not over or place < over[0]), default=0)
    high = min((place for place in over if place > low), default=bins)
    return _crossing(below, edges, share * total, low, high), edges[low], edges[high]


def _weight(below: int, bins: int, share: float) -> float:
    return below * (1 - share) ** 2 + (bins - below) * share**2


def _crossing(below: Sequence[float], edges: Sequence[float], wanted: float, low: int, high: int) -> float:
    """Where the distribution function reaches ``wanted`` between two edges, drawn straight between the edges."""
    for place in range(low, high):
        if below[place + 1] >= wanted and below[place + 1] > below[place]:
            part = (wanted - below[place]) / (below[place + 1] - below[place])
            return edges[place] + min(1.0, max(0.0, part)) * (edges[place + 1] - edges[place])
    return edges[high]
