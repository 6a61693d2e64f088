"""A column of numbers as a silo makes it known: what a contract may ask for, and which category it is a value of."""

from typing import Self

from pydantic import model_validator

from protocol.clauses import Column
from protocol.ids import ColumnName


class PublishedColumn(Column):
    """``category``: the declared column of which this yes/no column is one value, None for every other.

    Of the columns of one category exactly one is 1 in a row. Their names alone don't tell: ``had_stroke`` and
    ``had_asthma`` may be two answers as well as two values.
    """

    category: ColumnName | None = None

    @model_validator(mode="after")
    def _binary_in_a_category(self) -> Self:
        if self.category is not None and self.kind != "binary":
            raise ValueError(f"column {self.name}: a value of category {self.category} must be binary")
        return self
