"""A test that the two axes of a table are independent, with the null distribution that the noise makes.

Pearson's statistic of a noised table isn't chi-square: noise alone inflates it. So its distribution is drawn (Gaboardi,
Lim, Rogers and Vadhan, "Differentially Private Chi-Squared Hypothesis Testing", 2016): tables of independent axes with
the margins found, sampled and noised as the real one was. The draws are seeded with the study's digest and the
question's name: everybody finds the same p.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from protocol.questions import AnyQuestion, Contingency

if TYPE_CHECKING:
    from client.statistics.estimates import Noise

Floats = NDArray[np.float64]

DRAWS: Final = 4000
MAX_CELLS: Final = 400


@dataclass(frozen=True, slots=True)
class Independence:
    """``statistic`` is Pearson's; ``p_value`` the share of tables of independent axes that reach it. None: ``why``."""

    statistic: float | None
    p_value: float | None
    why: str = ""


def independence_of(
    study: str, question: AnyQuestion, cells: Sequence[Sequence[float] | None], noise: "Noise"
) -> Independence | None:
    """The test of a contingency table; None for another question."""
    if not isinstance(question, Contingency):
        return None
    if any(cell is None for cell in cells):
        return Independence(None, None, "cells too small to be shown; take fewer levels")
    if len(cells) > MAX_CELLS:
        return Independence(None, None, f"{len(cells)} cells, at most {MAX_CELLS} are tested; take fewer levels")
    shape = tuple(len(axis.levels) for axis in question.axes)
    table = np.array([cell[0] for cell in cells if cell is not None]).reshape(1, *shape)
    found, expected = pearson(table)
    seed = hashlib.sha256(f"consortia/independence/v1\x00{study}\x00{question.name}".encode()).digest()
    draws = np.random.default_rng(int.from_bytes(seed, "big"))
    shares = (expected / expected.sum()).reshape(-1)
    tables = draws.multinomial(max(1, round(float(table.sum()))), shares, size=DRAWS).astype(np.float64)
    tables += draws.normal(0.0, noise.deviation, tables.shape)
    null, _ = pearson(tables.reshape(DRAWS, *shape))
    reached = int(np.count_nonzero(null >= found[0]))
    return Independence(float(found[0]), (1 + reached) / (1 + DRAWS))


def pearson(tables: Floats) -> tuple[Floats, Floats]:
    """Pearson's statistic (m,) of tables (m, r, c), and the last one's expected counts under independence (r, c).

    Margins and expected counts below 1 count as 1: noise may leave less.
    """
    rows = np.maximum(tables.sum(axis=2, keepdims=True), 1.0)
    columns = np.maximum(tables.sum(axis=1, keepdims=True), 1.0)
    whole = np.maximum(tables.sum(axis=(1, 2), keepdims=True), 1.0)
    expected = np.maximum(rows * columns / whole, 1.0)
    return ((tables - expected) ** 2 / expected).sum(axis=(1, 2)), expected[-1]
