"""What a query gave, in a file between two processes: one that has the network, and one that computes and has none.

An Arrow IPC stream, private, of the batches as the database gave them, which is read while it is being written. Whether
they are what was registered, who reads them finds out by the commitment, as with every source.
"""

import io
import os
import stat
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl
import pyarrow

from silo_node.dataset.problems import ContentRefused
from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.celldigest import digested
from silo_node.dataset.sources.source import Take

_END: Final = b"\xff\xff\xff\xff\0\0\0\0"
"""How an Arrow IPC stream ends (Arrow columnar format, "IPC Streaming Format"); alone: an answer without a batch."""
_LOOK_S: Final = 0.005


def write_fetched(file: BinaryIO, batches: Iterable[pyarrow.RecordBatch]) -> None:
    """All of them to ``file``, one by one. Raises ``OSError``, and what ``batches`` raises; then its end is missing."""
    writer = None
    for batch in batches:
        writer = writer or pyarrow.ipc.new_stream(file, batch.schema)
        writer.write_batch(batch)
    if writer is None:
        file.write(_END)
    else:
        writer.close()


@dataclass(frozen=True, slots=True)
class FetchedQuery:
    """The file ``path`` that ``write_fetched`` writes, or wrote."""

    path: Path

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        return digested(self._stored(), schema, take)

    def _stored(self) -> Iterator[pyarrow.RecordBatch]:
        try:
            with Followed(self.path) as file:
                if file.begins_with(_END):
                    return
                with pyarrow.ipc.open_stream(file) as stream:
                    yield from stream
                if not file.ended_with(_END):
                    raise ContentRefused("the query's answer broke off")
        except (pyarrow.ArrowException, OSError):
            raise ContentRefused("what the query gave cannot be read from its private file") from None


class Followed(io.RawIOBase):
    """A file that is being written: who reads it waits for what isn't there yet. It ends once it is made 0400."""

    def __init__(self, path: Path, look_s: float = _LOOK_S) -> None:
        self._file = path.open("rb", buffering=0)
        self._look_s = look_s

    def readable(self) -> bool:
        return True

    def begins_with(self, start: bytes) -> bool:
        """Whether ``start`` comes next; nothing is taken by that."""
        self._await(len(start))
        return os.pread(self._file.fileno(), len(start), self._file.tell()) == start

    def ended_with(self, end: bytes) -> bool:
        """Whether ``end`` is what was taken last."""
        return os.pread(self._file.fileno(), len(end), max(0, self._file.tell() - len(end))) == end

    def read(self, size: int = -1) -> bytes:
        """The next ``size`` bytes, fewer only at the end."""
        if size < 0:
            raise io.UnsupportedOperation("how many bytes to read must be told")
        self._await(size)
        return self._file.read(size) or b""

    def close(self) -> None:
        self._file.close()
        super().close()

    def _await(self, size: int) -> None:
        """Waits until ``size`` more bytes are there, or will never be."""
        while True:
            now = os.fstat(self._file.fileno())
            # What was written before the mode was changed is in the size.
            if now.st_size - self._file.tell() >= size or not now.st_mode & stat.S_IWUSR:
                return
            time.sleep(self._look_s)
