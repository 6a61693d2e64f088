"""CSV files, read a piece at a time. A piece ends where a record does: after a line break outside quotation marks."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from silo_node.dataset.problems import ContentRefused
from silo_node.dataset.schema import Schema
from silo_node.dataset.sources.source import Take, check_header

PIECE_BYTES: Final = 8 * 2**20
MAX_RECORD_BYTES: Final = 64 * 2**20
_MARK: Final = b"\xef\xbb\xbf"


@dataclass(frozen=True, slots=True)
class CsvFile:
    """A CSV file in UTF-8 whose first line names the columns (RFC 4180); values stay texts."""

    path: Path
    piece_bytes: int = PIECE_BYTES

    def batches(self, schema: Schema, take: Take) -> Iterator[pl.DataFrame]:
        wanted = schema.wanted
        with self.path.open("rb") as file:
            pieces = _records(file, take, self.piece_bytes)
            first = next(pieces, b"").removeprefix(_MARK)
            header, body = _header(first)
            check_header(_names(header), wanted)
            rows, lines = 0, header.count(b"\n")
            while True:
                frame = _parsed(header, body, wanted, rows, lines)
                yield frame
                rows, lines = rows + frame.height, lines + body.count(b"\n")
                following = next(pieces, None)
                if following is None:
                    return
                body = following


def _records(file: BinaryIO, take: Take, piece_bytes: int) -> Iterator[bytes]:
    """The file in pieces of whole records."""
    pending = b""
    while piece := file.read(piece_bytes):
        take(piece)
        pending += piece
        cut = _end_of_records(pending)
        if cut:
            yield pending[:cut]
            pending = pending[cut:]
        elif len(pending) > MAX_RECORD_BYTES:
            raise ContentRefused("the source is not CSV: a quotation mark is out of place, or a line has no end")
    if pending:
        yield pending


def _end_of_records(data: bytes) -> int:
    """Where the last whole record in ``data`` ends: behind the last line break with all quotation marks closed."""
    end = data.rfind(b"\n")
    quotes = data.count(b'"', 0, end) if end >= 0 else 0
    while end >= 0 and quotes % 2:
        # The line break lies within quotation marks: go on before the mark that opened them.
        opened = data.rfind(b'"', 0, end)
        before = data.rfind(b"\n", 0, opened)
        quotes -= data.count(b'"', max(before, 0), end)
        end = before
    return end + 1


def _header(piece: bytes) -> tuple[bytes, bytes]:
    """The header's record and what follows it."""
    if not piece.strip():
        raise ContentRefused("the source is empty: it needs a header line that names the columns")
    piece = piece.lstrip(b"\r\n")
    end = piece.find(b"\n")
    while end >= 0 and piece.count(b'"', 0, end) % 2:
        end = piece.find(b"\n", end + 1)
    if end < 0:
        return piece + b"\n", b""
    return piece[: end + 1], piece[end + 1 :]


def _names(header: bytes) -> list[str]:
    try:
        return next(csv.reader(io.StringIO(header.decode("utf-8"), newline=""), strict=True))
    except UnicodeDecodeError:
        raise ContentRefused("line 1 of the source is not text in UTF-8") from None
    except (csv.Error, StopIteration):
        raise ContentRefused("the source's first line is not a CSV header") from None


def _parsed(header: bytes, body: bytes, wanted: tuple[str, ...], rows: int, lines: int) -> pl.DataFrame:
    """``rows`` and ``lines`` of the file came before ``body``."""
    try:
        return pl.read_csv(header + body, columns=list(wanted), infer_schema=False).select(wanted)
    except (pl.exceptions.PolarsError, OSError, ValueError):
        # Its message quotes the file; ours must not.
        raise ContentRefused(_fault(header, body, rows, lines)) from None


def _fault(header: bytes, body: bytes, rows: int, lines: int) -> str:
    """What keeps records from being read, found by a slow second look at them."""
    for number, line in enumerate(io.BytesIO(body), start=lines + 1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return f"line {number} of the source is not text in UTF-8"
    width = len(_names(header))
    try:
        for number, row in enumerate(csv.reader(io.StringIO(body.decode("utf-8"), newline=""), strict=True), rows + 1):
            if len(row) > width:
                return f"row {number} of the source has {len(row)} fields, the header {width}"
    except csv.Error:
        return "the source is not CSV: a quotation mark is out of place"
    return "the source is not a CSV file that can be read"
