"""A digest of the cells that a database gave, column by column, whatever batches they came in."""

import hashlib
from collections.abc import Iterable, Iterator

import numpy as np
import polars as pl
import pyarrow
from numpy.typing import NDArray

from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.parquet_file import frame_of
from silo_node.dataset.sources.source import Take


class CellDigest:
    """SHA-256 of the cells of each column, in the order of the rows; numbers as float64, all others as texts.

    A number is digested as what it is computed with, and -0.0 as 0.0; a missing one as one NaN.
    """

    def __init__(self, columns: tuple[str, ...], as_text: tuple[str, ...]) -> None:
        self._digests = {name: (hashlib.sha256(), hashlib.sha256()) for name in columns}
        self._as_text = as_text

    def take(self, frame: pl.DataFrame) -> None:
        for name, (cells, lengths) in self._digests.items():
            series = frame[name]
            if name not in self._as_text and (series.dtype.is_numeric() or series.dtype == pl.Boolean):
                cells.update(_numbers(series).data)
                continue
            texts = series.cast(pl.String, strict=False)
            cells.update("".join(texts.fill_null("").to_list()).encode())
            lengths.update(texts.str.len_bytes().cast(pl.Int64).fill_null(-1).to_numpy().astype("<i8").data)

    def digest(self) -> bytes:
        """32 bytes: of the columns' names and digests, in order."""
        whole = hashlib.sha256(b"consortia/cells/v1\0")
        for name, (cells, lengths) in self._digests.items():
            whole.update(name.encode() + b"\0" + cells.digest() + lengths.digest())
        return whole.digest()


def digested(batches: Iterable[pyarrow.RecordBatch], schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
    """What PostgreSQL gave, as frames; ``take`` gets the digest of all cells at the end."""
    digest = CellDigest(schema.wanted, as_text=schema.identifying)
    for batch in batches:
        frame = frame_of(batch).select(schema.wanted)
        digest.take(frame)
        yield frame
    take(digest.digest())


def _numbers(series: pl.Series) -> NDArray[np.float64]:
    """What is digested of a column of numbers, little endian."""
    if series.dtype != pl.Float64:
        series = series.cast(pl.Float64)
    if series.null_count():
        series = series.fill_null(float("nan"))
    values: NDArray[np.float64] = np.add(series.to_numpy(), 0.0, dtype="<f8")
    if np.isnan(values.min(initial=0.0)):
        values[np.isnan(values)] = np.nan
    return values
