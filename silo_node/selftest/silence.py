"""Noise off: for looking at what lies under it, on made-up rows. Nothing but the sensitivity checks imports this."""

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Silence:
    """A ``NoiseSource`` that adds nothing and takes every row. What is released with it is not private."""

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        """``sums`` as they are."""
        return sums

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        """All rows."""
        return np.ones(rows, dtype=np.bool_)
