"""What a query gave, in a file between two processes: one that has the network, and one that computes and has none.

An Arrow IPC stream, private, of the batches as the database gave them. Whether they are what was registered, who reads
them finds out by the commitment, as with every source.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pyarrow

from silo_node.dataset.problems import ContentRefused
from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.celldigest import digested
from silo_node.dataset.sources.source import Take
from silo_node.private_files import writing_private


def write_fetched(path: Path, batches: Iterable[pyarrow.RecordBatch]) -> None:
    """All of them into ``path`` (0600), whole or not at all. Raises ``OSError``, and what ``batches`` raises."""
    with writing_private(path) as file:
        writer = None
        for batch in batches:
            writer = writer or pyarrow.ipc.new_stream(file, batch.schema)
            writer.write_batch(batch)
        if writer is not None:
            writer.close()


@dataclass(frozen=True, slots=True)
class FetchedQuery:
    """The file ``path`` that ``write_fetched`` wrote; one without a batch holds no rows."""

    path: Path

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        return digested(self._stored(), schema, take)

    def _stored(self) -> Iterator[pyarrow.RecordBatch]:
        if not self.path.stat().st_size:
            return
        try:
            with pyarrow.OSFile(str(self.path)) as file, pyarrow.ipc.open_stream(file) as stream:
                yield from stream
        except (pyarrow.ArrowException, OSError):
            raise ContentRefused("what the query gave cannot be read from its private file") from None
