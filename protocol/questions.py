"""The statistics that can be asked for, each as a sum of bounded contributions, one a row.

A question cuts the rows into cells (``by``) and adds up, in each cell, a few numbers a row ("components"), all of them
in [-1, 1]. A row is in one cell at most, so a question's L2 sensitivity, when one row comes or goes, is the largest
norm of one row's components: it is derived in each class and nowhere computed from data. u is a column's value clamped
to its range and mapped to [-1, 1]. A row with a missing value in any column that a question reads adds nothing to it.
"""

import math
from itertools import pairwise
from typing import Annotated, Final, Literal, Self

from pydantic import Field, model_validator

from protocol.ids import ColumnName, Strict

MAX_LEVELS: Final = 1_000
MAX_VALUES: Final = 100_000
"""Values of a whole study's vector."""

Edges = Annotated[tuple[float, ...], Field(min_length=2, max_length=MAX_LEVELS + 1)]
Probability = Annotated[float, Field(gt=0, lt=1)]


class Axis(Strict):
    """A way to tell rows apart: by a yes-or-no column (level 0 is no, 1 yes), by a number's place among ``edges``, or
    by which of several yes-or-no columns is 1: a category, which schemas spread over one column a value.

    A bin holds its lower edge, the last bin its upper one too. A row on no level is in no cell.
    """

    name: ColumnName
    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=MAX_LEVELS)]
    edges: Edges | None = None

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError(f"axis {self.name}: a column stands in it twice")
        if self.edges is not None and len(self.columns) > 1:
            raise ValueError(f"axis {self.name}: edges cut one column of numbers; leave them out for a category")
        if self.edges is not None:
            check_rising(f"axis {self.name}", self.edges)
        return self

    @property
    def levels(self) -> tuple[str, ...]:
        """What each level is called."""
        if self.edges is not None:
            return bin_names(self.edges)
        return self.columns if len(self.columns) > 1 else ("no", "yes")


class Question(Strict):
    """What all questions share: a name in the study, and how the rows are told apart."""

    name: ColumnName
    by: Annotated[tuple[Axis, ...], Field(max_length=4)] = ()

    @property
    def axes(self) -> tuple[Axis, ...]:
        """Every axis of the cells."""
        return self.by

    @property
    def cells(self) -> int:
        return math.prod(len(axis.levels) for axis in self.axes)

    @property
    def components(self) -> int:
        """Numbers a cell."""
        raise NotImplementedError

    @property
    def squared_sensitivity(self) -> int:
        """The largest squared L2 norm of what one row adds."""
        raise NotImplementedError

    @property
    def measured(self) -> tuple[str, ...]:
        """The number columns that are computed with, beside those that tell rows apart."""
        return ()

    @property
    def columns(self) -> tuple[str, ...]:
        """Every column that the question reads, once each."""
        return tuple(dict.fromkeys((*(name for axis in self.axes for name in axis.columns), *self.measured)))

    @property
    def needed(self) -> tuple[str, ...]:
        """The columns in which a row must have a value to add anything."""
        return self.columns

    @property
    def values(self) -> int:
        return self.cells * self.components


class Count(Question):
    """Rows of each cell. A row adds (1) to one cell: sensitivity 1."""

    kind: Literal["count"]

    @property
    def components(self) -> int:
        return 1

    @property
    def squared_sensitivity(self) -> int:
        return 1


class _OfOneColumn(Question):
    column: ColumnName

    @property
    def measured(self) -> tuple[str, ...]:
        return (self.column,)


class Sum(_OfOneColumn):
    """The sum of a column in each cell. A row adds (1, u), whose squared norm is at most 2."""

    kind: Literal["sum"]

    @property
    def components(self) -> int:
        return 2

    @property
    def squared_sensitivity(self) -> int:
        return 2


class Mean(_OfOneColumn):
    """The mean of a column in each cell. A row adds (1, u), whose squared norm is at most 2."""

    kind: Literal["mean"]

    @property
    def components(self) -> int:
        return 2

    @property
    def squared_sensitivity(self) -> int:
        return 2


class Variance(_OfOneColumn):
    """Mean and variance of a column in each cell. A row adds (1, u, u^2), whose squared norm is at most 3."""

    kind: Literal["variance"]

    @property
    def components(self) -> int:
        return 3

    @property
    def squared_sensitivity(self) -> int:
        return 3


class Histogram(_OfOneColumn):
    """Rows of each bin of a column, in each cell of ``by``. A row adds (1) to one bin: sensitivity 1."""

    kind: Literal["histogram"]
    edges: Edges

    @model_validator(mode="after")
    def _rising(self) -> Self:
        check_rising(self.name, self.edges)
        return self

    @property
    def axes(self) -> tuple[Axis, ...]:
        return (*self.by, Axis(name=self.column, columns=(self.column,), edges=self.edges))

    @property
    def components(self) -> int:
        return 1

    @property
    def squared_sensitivity(self) -> int:
        return 1


class Quantiles(_OfOneColumn):
    """Quantiles of a column in each cell, from its rows in each bin. A row adds (1) to one bin: sensitivity 1."""

    kind: Literal["quantiles"]
    probabilities: Annotated[tuple[Probability, ...], Field(min_length=1, max_length=20)]
    edges: Edges

    @model_validator(mode="after")
    def _rising(self) -> Self:
        check_rising(self.name, self.edges)
        check_rising(f"{self.name}.probabilities", self.probabilities)
        return self

    @property
    def components(self) -> int:
        return len(self.edges) - 1

    @property
    def squared_sensitivity(self) -> int:
        return 1


class Contingency(Question):
    """A table of two axes, with the test that they are independent. A row adds (1) to one cell: sensitivity 1."""

    kind: Literal["contingency"]
    by: Annotated[tuple[Axis, ...], Field(min_length=2, max_length=2)]

    @property
    def components(self) -> int:
        return 1

    @property
    def squared_sensitivity(self) -> int:
        return 1


class Correlation(Question):
    """Pearson's correlation of every two of d columns, in each cell, over rows that have all of them.

    A row adds (1, every u_i, every u_i u_j with i <= j): its squared norm is at most 1 + d + d (d + 1) / 2.
    """

    kind: Literal["correlation"]
    of: Annotated[tuple[ColumnName, ...], Field(min_length=2, max_length=20)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.of)) != len(self.of):
            raise ValueError(f"{self.name}: a column stands in it twice")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        return self.of

    @property
    def components(self) -> int:
        return 1 + len(self.of) + len(self.of) * (len(self.of) + 1) // 2

    @property
    def squared_sensitivity(self) -> int:
        return self.components


class Survival(Question):
    """The share that outlives each time, in each cell (Kaplan and Meier, 1958), over the bins of ``edges``.

    ``event`` is 1 where the time ended in the event, 0 where it was censored. Components: events of each bin, then
    censored ones of each bin, then rows whose time is beyond the last edge. A row adds (1) to one: sensitivity 1.
    """

    kind: Literal["survival"]
    time: ColumnName
    event: ColumnName
    edges: Edges

    @model_validator(mode="after")
    def _rising(self) -> Self:
        check_rising(self.name, self.edges)
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        return (self.time, self.event)

    @property
    def components(self) -> int:
        return 2 * (len(self.edges) - 1) + 1

    @property
    def squared_sensitivity(self) -> int:
        return 1


class Missing(Question):
    """The share of rows that have no value, of each of d columns. A row adds (1, 1 for each column that it has a value
    in), whose squared norm is at most 1 + d."""

    kind: Literal["missing"]
    of: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=1_000)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        if len(set(self.of)) != len(self.of):
            raise ValueError(f"{self.name}: a column stands in it twice")
        return self

    @property
    def measured(self) -> tuple[str, ...]:
        return self.of

    @property
    def needed(self) -> tuple[str, ...]:
        return tuple(name for axis in self.axes for name in axis.columns)

    @property
    def components(self) -> int:
        return 1 + len(self.of)

    @property
    def squared_sensitivity(self) -> int:
        return 1 + len(self.of)


AnyQuestion = Annotated[
    Count | Missing | Sum | Mean | Variance | Histogram | Quantiles | Contingency | Correlation | Survival,
    Field(discriminator="kind"),
]


def check_rising(name: str, values: tuple[float, ...]) -> None:
    """Raises ``ValueError`` unless each value is above the one before."""
    if any(low >= high for low, high in pairwise(values)):
        raise ValueError(f"{name}: {', '.join(f'{one:g}' for one in values[:20])} must rise from one to the next")


def bin_names(edges: tuple[float, ...]) -> tuple[str, ...]:
    """How the bins between ``edges`` are called, e.g. ``20 to 40``."""
    return tuple(f"{low:g} to {high:g}" for low, high in pairwise(edges))
