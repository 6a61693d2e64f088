"""How a trained model is measured on held-out rows: two counts, or a histogram of its scores.

Either way a row adds 1 to one cell, so that the L2 sensitivity of all cells together is 1 and one charge pays for
whatever is computed of them (``protocol.scores``). Counts tell the accuracy alone, at the least noise. A histogram
tells AUC, ROC, calibration and rates by group besides; its accuracy is noisier, being a sum over many cells.
"""

from itertools import pairwise
from typing import Annotated, Any, Final, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Discriminator, Field, Tag, model_validator

from protocol.ids import ColumnName, Strict
from protocol.precision import Sealing, resolved
from protocol.scores import Scores

Floats = NDArray[np.float64]

MAX_BINS: Final = 100
MAX_GROUPS: Final = 16

Probability = Annotated[float, Field(gt=0, lt=1)]
TestShare = Annotated[float, Field(gt=0, lt=0.9)]
NoiseMultiplier = Annotated[float, Field(ge=0.3, le=10_000)]


class CountedEvaluation(Strict):
    """Two noised counts a silo, right and wrong, over the held-out share of its rows."""

    test_share: TestShare
    noise_multiplier: NoiseMultiplier

    @property
    def values(self) -> int:
        """How many values the round's vector has."""
        return 2


class ScoredEvaluation(Strict):
    """Noised counts a silo of its held-out rows, by group, label and bin of the score.

    edges: probabilities between bins, increasing; 0.5 is one of them. groups: binary columns; a row is of the first
    of them in which it has a 1, and of "others" where it has none.
    """

    test_share: TestShare
    noise_multiplier: NoiseMultiplier
    edges: Annotated[tuple[Probability, ...], Field(min_length=1, max_length=MAX_BINS - 1)]
    groups: Annotated[tuple[ColumnName, ...], Field(max_length=MAX_GROUPS)]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if any(low >= high for low, high in pairwise(self.edges)):
            raise ValueError("evaluation.edges: must increase")
        if 0.5 not in self.edges:
            raise ValueError("evaluation.edges: 0.5 must be one of them, at which a prediction turns positive")
        if len(set(self.groups)) != len(self.groups):
            raise ValueError("evaluation.groups: each column may be named once")
        return self

    @property
    def shape(self) -> tuple[int, int, int]:
        """(groups, 2, bins)."""
        return len(self.groups) + 1 if self.groups else 1, 2, len(self.edges) + 1

    @property
    def group_names(self) -> tuple[str, ...]:
        """A name for each group; one for all rows where they are not told apart."""
        return (*self.groups, "others") if self.groups else ("all",)

    @property
    def values(self) -> int:
        """How many values the round's vector has."""
        groups, labels, bins = self.shape
        return groups * labels * bins


def _kind(value: Any) -> str:
    scored = "edges" in value if isinstance(value, dict) else isinstance(value, ScoredEvaluation)
    return "scores" if scored else "counts"


Evaluation = Annotated[
    Annotated[CountedEvaluation, Tag("counts")] | Annotated[ScoredEvaluation, Tag("scores")], Discriminator(_kind)
]


def scores_told(evaluation: ScoredEvaluation, sealing: Sealing, totals: Floats, survivors: int) -> Scores:
    """What totals (values,) of ``survivors`` silos tell.

    Raises ``ValueError`` where they are not as many as the evaluation has cells.
    """
    counts = np.asarray(totals, dtype=np.float64).reshape(1, *evaluation.shape)
    return Scores(counts, evaluation.edges, survivors * cell_variance(evaluation, sealing, survivors))


def right_and_wrong(evaluation: CountedEvaluation | ScoredEvaluation, counts: Floats) -> tuple[float, float]:
    """How many rows were predicted right, and how many wrong, of counts (values,)."""
    if isinstance(evaluation, CountedEvaluation):
        right, wrong = counts.tolist()
        return right, wrong
    cut = evaluation.edges.index(0.5) + 1
    cells = np.asarray(counts, dtype=np.float64).reshape(evaluation.shape).sum(axis=0)
    right = float(cells[0, :cut].sum() + cells[1, cut:].sum())
    return right, float(cells.sum()) - right


def cell_variance(evaluation: CountedEvaluation | ScoredEvaluation, sealing: Sealing, terms: int) -> float:
    """The variance that one silo adds to a count: noise, its rounding to integers, and the rounding of a sum of terms.

    A value is rounded at random to one of two neighbouring levels, which are apart by what the sealing's bits leave;
    a variance of a quarter of that squared is the most there is.
    """
    _, bits = resolved(sealing, terms)
    apart = float(2.0 ** (sealing.evaluation_exponent + 1) / (2**bits - 1))
    return evaluation.noise_multiplier**2 + 1 / 12 + apart**2 / 4
