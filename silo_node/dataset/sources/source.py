"""What a source of rows is: something that gives its declared columns in batches, and tells what it read."""

from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol

import polars as pl

from silo_node.dataset.problems import ContentRefused
from silo_node.dataset.schema import Schema

BATCH_VALUES: Final = 2**21
"""About so many values a batch holds: 16 MiB as float64."""

Take = Callable[[bytes], None]
"""Takes what comes next of all that was read, for the dataset's commitment."""


class Source(Protocol):
    """A table somewhere. Rows come in an order that is the same each time."""

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        """The columns ``schema.wanted``, batch after batch; raises ``DatasetRefused``, or ``OSError``.

        All that decides what the batches hold has gone to ``take`` when the last one was given. It does not depend
        on how rows fall into batches, and nothing is read a second time that could have changed.
        """
        ...


def batch_rows(schema: Schema) -> int:
    """How many rows a batch should have."""
    return max(64, BATCH_VALUES // max(1, len(schema.names)))


def check_header(present: Sequence[str], wanted: Sequence[str]) -> None:
    """Raises ``DatasetRefused`` for a declared column that is missing or comes twice."""
    missing = [name for name in wanted if name not in present]
    if missing:
        raise ContentRefused(f"the source lacks the declared columns: {', '.join(missing)}")
    doubled = [name for name in wanted if present.count(name) > 1]
    if doubled:
        raise ContentRefused(f"the source names columns more than once: {', '.join(doubled)}")
