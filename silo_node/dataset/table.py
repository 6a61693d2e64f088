"""A source's rows as one table of numbers, read through once, batch by batch: checked, committed to, clamped.

This is the one path from a source to rows. What the owner's opt-outs name is left out here, so that no caller can
forget to.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from silo_node.dataset.cells import CellReader
from silo_node.dataset.fingerprint import Seal
from silo_node.dataset.identities import IdentityReader
from silo_node.dataset.matrix import GrowingMatrix
from silo_node.dataset.persons import unique
from silo_node.dataset.problems import ContentRefused, Problems
from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.source import Source
from silo_node.dataset.split import first_repeat, row_tags, tags_of
from silo_node.errors import DatasetRefused

OptedOut = Callable[[str], bool]
"""Whether the person or record with this id refused or withdrew."""


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class Table:
    """A source's rows, without those of people who opted out.

    ``values`` float64 (n, k): the columns ``names``, clamped to their declared ranges. ``tags`` uint64 (n, 2): the
    keyed hash of who each row is about, see ``split``. ``clamped`` counts the values of each declared column that lay
    outside its range, ``missing`` those that a declared value stands in for. ``repeated_row`` is the first row (from 1,
    of those kept) whose subject had a row before, or None. ``left_out`` counts the rows of people who opted out.
    ``persons`` are the tags of all subjects under the key of registers, where one was given; of those left out too.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    tags: NDArray[np.uint64]
    clamped: dict[str, int]
    missing: dict[str, int]
    repeated_row: int | None
    left_out: int
    persons: bytes = b""

    def __repr__(self) -> str:
        return "<Table redacted>"

    @property
    def rows(self) -> int:
        return len(self.values)

    def places(self, names: Sequence[str]) -> list[int]:
        """Where the columns ``names`` stand in ``values``."""
        return [self.names.index(name) for name in names]


def read_table(
    source: Source,
    schema: Schema,
    seal: Seal,
    split_key: bytes,
    opted_out: OptedOut | None = None,
    columns: Sequence[str] | None = None,
    in_memory: int | None = None,
    persons_key: bytes | None = None,
    gaps: bool = False,
) -> Table:
    """The rows of ``source``; of the expanded columns only ``columns`` are kept where given, and all are checked.

    With ``gaps`` missing values are NaN, and nothing stands in for them.

    What was read is taken into ``seal``. Rows are counted from 1, the first below a CSV's header. Raises
    ``DatasetRefused`` with every problem found.
    """
    if opted_out is not None and not schema.identifying:
        raise DatasetRefused(
            "people of this privacy domain opted out, and without a subject or record_id in its schema this dataset "
            "cannot leave them out; declare one"
        )
    kept = tuple(columns if columns is not None else schema.names)
    persons = persons_key if schema.subject else None
    reading = _Reading(schema, split_key, opted_out, kept, in_memory, persons, gaps)
    try:
        for frame in source.batches(schema, seal.take):
            reading.take(frame)
    except OSError as error:
        raise DatasetRefused(f"the source cannot be read through: {error.strerror or type(error).__name__}") from None
    return reading.table()


class _Reading:
    """What has been read so far."""

    def __init__(
        self,
        schema: Schema,
        split_key: bytes,
        opted_out: OptedOut | None,
        columns: tuple[str, ...],
        in_memory: int | None,
        persons_key: bytes | None,
        gaps: bool,
    ) -> None:
        self._schema, self._key, self._opted_out, self._columns = schema, split_key, opted_out, columns
        self._problems = Problems()
        self._cells, self._people = CellReader(self._problems, gaps), IdentityReader(schema, self._problems)
        self._low = np.array([column.minimum for column in schema.expanded])
        self._high = np.array([column.maximum for column in schema.expanded])
        self._all = list(range(len(self._low)))
        self._places = [schema.names.index(name) for name in columns]
        self._owners = [column.name for column in schema.columns for _ in column.expanded()]
        self._matrix, self._tags = GrowingMatrix(len(columns), in_memory), bytearray()
        self._clamped = dict.fromkeys((column.name for column in schema.columns), 0)
        self._missing = dict(self._clamped)
        self._before = self._left_out = 0
        self._persons_key, self._persons = persons_key, bytearray()

    def take(self, frame: pl.DataFrame) -> None:
        """Checks the rows of ``frame`` and keeps them, unless something was wrong with any row yet."""
        names = self._people.names(frame, self._before)
        values = self._values(frame)
        self._before += frame.height
        if self._problems:
            return
        identities = self._people.identities(names, values.T)
        tags = row_tags(self._key, identities)
        if self._persons_key is not None:
            self._persons += row_tags(self._persons_key, identities)
        self._clamp(values)
        wanted = (values if self._places == self._all else values[self._places]).T
        kept = self._kept(names)
        if kept is not None:
            self._left_out += int((~kept).sum())
            wanted, tags = wanted[kept], tags_of(tags)[kept].astype(">u8").tobytes()
        self._matrix.append(wanted)
        self._tags += tags

    def table(self) -> Table:
        if self._before == 0:
            raise ContentRefused("the source holds no rows")
        self._problems.refuse()
        tags = tags_of(self._tags)
        repeated = first_repeat(tags)
        if repeated is not None and self._people.role == "record":
            raise ContentRefused(
                f"the source cannot be used: column {self._schema.record_id} has the same record id twice, again in "
                f"row {repeated}"
            )
        return Table(
            self._columns,
            self._matrix.finish(),
            tags,
            self._clamped,
            self._missing,
            repeated,
            self._left_out,
            unique(bytes(self._persons)),
        )

    def _values(self, frame: pl.DataFrame) -> NDArray[np.float64]:
        """All declared columns of the batch, float64 (d, m): a column's values beside each other. Unclamped."""
        values = np.empty((len(self._low), frame.height))
        at = 0
        for column in self._schema.columns:
            cells, missing = self._cells.read(frame[column.name], column, self._before)
            values[at : at + cells.shape[1]] = cells.T
            at += cells.shape[1]
            self._missing[column.name] += missing
        return values

    def _clamp(self, values: NDArray[np.float64]) -> None:
        """Clamps each column of ``values`` (d, m) that needs it, in place, and counts what lay outside."""
        # fmin and fmax pass over what is missing.
        low, high = np.fmin.reduce(values, 1, initial=np.inf), np.fmax.reduce(values, 1, initial=-np.inf)
        for place in np.flatnonzero((low < self._low) | (high > self._high)):
            cells = values[place]
            outside = (cells < self._low[place]) | (cells > self._high[place])
            self._clamped[self._owners[place]] += int(outside.sum())
            np.clip(cells, self._low[place], self._high[place], out=cells)

    def _kept(self, names: list[str] | None) -> NDArray[np.bool_] | None:
        if self._opted_out is None or names is None:
            return None
        opted_out = self._opted_out
        return np.fromiter((not opted_out(name) for name in names), dtype=np.bool_, count=len(names))
