"""Parquet files, read a batch of rows at a time from bytes that nobody else can change."""

import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

import polars as pl
import pyarrow
import pyarrow.parquet

from silo_node.dataset.problems import ContentRefused
from silo_node.dataset.schema import Schema
from silo_node.dataset.scratch import COPY, scratch_file
from silo_node.dataset.sources.source import Take, batch_rows, check_header

IN_MEMORY_BYTES: Final = 64 * 2**20
_PIECE: Final = 4 * 2**20


@dataclass(frozen=True, slots=True)
class ParquetFile:
    """A Parquet file, whose footer stands at its end: it is read once into a private copy, and parsed from that."""

    path: Path

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        with self.path.open("rb") as file, _room(file) as copy:
            while piece := file.read(_PIECE):
                take(piece)
                copy.write(piece)
            copy.seek(0)
            yield from _batches(copy, schema)


def _room(file: IO[bytes]) -> IO[bytes]:
    """For a copy of ``file``: memory if it is small as it stands, else the disk."""
    small = os.fstat(file.fileno()).st_size <= IN_MEMORY_BYTES
    return tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES) if small else scratch_file(COPY)


def _batches(copy: IO[bytes], schema: Schema) -> Iterator[pl.DataFrame]:
    wanted = schema.wanted
    try:
        parquet = pyarrow.parquet.ParquetFile(copy, pre_buffer=False)
        check_header(parquet.schema_arrow.names, wanted)
        for batch in parquet.iter_batches(batch_rows(schema), columns=list(wanted), use_threads=False):
            yield frame_of(batch).select(wanted)
    except (pyarrow.ArrowException, pl.exceptions.PolarsError, OSError, ValueError):
        # Its message quotes the file; ours must not.
        raise ContentRefused("the source is not a Parquet file that can be read") from None


def frame_of(batch: pyarrow.RecordBatch) -> pl.DataFrame:
    """A record batch as polars has it; types that Arrow does not know, such as PostgreSQL's numeric, as their texts."""
    columns = [column.storage if isinstance(column, pyarrow.ExtensionArray) else column for column in batch.columns]
    return pl.DataFrame(pyarrow.RecordBatch.from_arrays(columns, names=batch.schema.names))
