"""What is wrong with a source, gathered over all its rows. A column and a row are named, a value never."""

from dataclasses import dataclass, field
from typing import Final

import polars as pl

from silo_node.errors import DatasetRefused

MAX_PROBLEMS: Final = 20


class ContentRefused(DatasetRefused):
    """A source whose content is not what the schema declares. What was registered once never is: it has changed."""


@dataclass(slots=True)
class Problems:
    """Problems by column and kind: the first row of each (from 1) and how many there are."""

    _rows: dict[tuple[str, str], tuple[int, int]] = field(default_factory=dict)
    _columns: dict[str, str] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self._rows or self._columns)

    def note(self, column: str, what: str, where: pl.Series, before: int) -> None:
        """``what`` is wrong in the rows of a batch where ``where`` is true; ``before`` rows came before the batch."""
        count = int(where.sum())
        if count:
            row, known = self._rows.get((column, what), (before + (where.arg_max() or 0) + 1, 0))
            self._rows[column, what] = row, known + count

    def note_column(self, column: str, sentence: str) -> None:
        """Something is wrong with a column as a whole; said once."""
        self._columns.setdefault(column, sentence)

    def refuse(self) -> None:
        """Raises ``ContentRefused`` with what was noted, if anything was."""
        if not self:
            return
        sentences = [*self._columns.values()]
        for (column, what), (row, count) in self._rows.items():
            more = f" ({count} rows in all)" if count > 1 else ""
            sentences.append(f"column {column} has {what} in row {row}{more}")
        more_problems = len(sentences) - MAX_PROBLEMS
        listed = sentences[:MAX_PROBLEMS] + ([f"and {more_problems} more problems"] if more_problems > 0 else [])
        raise ContentRefused("the source cannot be used: " + "; ".join(listed))
