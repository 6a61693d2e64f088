"""CSV and Parquet files, checked against the declared schema. Problems name the column and the row, never a value."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from silo_node.dataset.schema import DeclaredColumn, Schema
from silo_node.dataset.split import content_identities, named_identities
from silo_node.errors import DatasetRefused

FORMATS: Final = (".csv", ".parquet")
MAX_PROBLEMS: Final = 20
_TRUTH: Final = {"true": "1", "false": "0"}


@dataclass(frozen=True, slots=True, repr=False)
class Table:
    """A source's declared columns. ``values`` float64 (n, columns) as declared, clamped; ``identities`` one a row.

    ``clamped`` counts the values of each column that lay outside its range. ``repeated_row`` is the first row
    (from 1) whose subject had a row before, or None.
    """

    names: tuple[str, ...]
    values: NDArray[np.float64]
    identities: tuple[bytes, ...]
    clamped: dict[str, int]
    repeated_row: int | None

    def __repr__(self) -> str:
        return "<Table redacted>"

    def matrix(self, names: Sequence[str]) -> NDArray[np.float64]:
        """The columns ``names``, in that order, as float64 (n, len(names))."""
        return self.values[:, [self.names.index(name) for name in names]]


def load(content: bytes, suffix: str, schema: Schema) -> Table:
    """The table in ``content``, a file that ends in ``suffix``.

    Rows are counted from 1, the first below a CSV's header. Raises ``DatasetRefused`` with every problem found:
    a missing column, missing values, a text where a number belongs, infinite values, no rows.
    """
    frame = _read(content, suffix, schema)
    if frame.height == 0:
        raise DatasetRefused("the source holds no rows")
    problems: list[str] = []
    columns, clamped = [], {}
    for column in schema.columns:
        raw = _numbers(frame[column.name], column, problems)
        columns.append(raw)
        clamped[column.name] = int(((raw < column.minimum) | (raw > column.maximum)).sum())
    ids = _ids(frame, schema, problems)
    if problems:
        more = len(problems) - MAX_PROBLEMS
        listed = problems[:MAX_PROBLEMS] + ([f"and {more} more problems"] if more > 0 else [])
        raise DatasetRefused("the source cannot be used: " + "; ".join(listed))
    raw_values = np.column_stack(columns)
    identities = ids or content_identities(raw_values[:, np.argsort(schema.names)])
    low = np.array([column.minimum for column in schema.columns])
    high = np.array([column.maximum for column in schema.columns])
    return Table(
        names=schema.names,
        values=np.clip(raw_values, low, high),
        identities=tuple(identities),
        clamped=clamped,
        repeated_row=_first_repeat(identities),
    )


def _read(content: bytes, suffix: str, schema: Schema) -> pl.DataFrame:
    """The declared and identifying columns, CSV values still as text."""
    wanted = [*schema.names, *(name for name in (schema.subject, schema.record_id) if name)]
    if suffix == ".csv":
        _check_header(_csv_header(content), wanted)
        try:
            return pl.read_csv(content, columns=wanted, infer_schema=False).select(wanted)
        except (pl.exceptions.PolarsError, OSError, ValueError):
            # Its message quotes the file; ours must not.
            raise DatasetRefused(_csv_fault(content)) from None
    if suffix == ".parquet":
        try:
            _check_header(list(pl.read_parquet_schema(io.BytesIO(content))), wanted)
            return pl.read_parquet(io.BytesIO(content), columns=wanted).select(wanted)
        except (pl.exceptions.PolarsError, OSError, ValueError):
            raise DatasetRefused("the source is not a Parquet file that can be read") from None
    raise DatasetRefused(f"the source's name ends in {suffix or 'nothing'}; read are: {', '.join(FORMATS)}")


def _csv_header(content: bytes) -> list[str]:
    if not content.strip():
        raise DatasetRefused("the source is empty: it needs a header line that names the columns")
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
            return next(csv.reader(text, strict=True))
    except UnicodeDecodeError:
        raise DatasetRefused(_undecodable(content)) from None
    except csv.Error:
        raise DatasetRefused("the source's first line is not a CSV header") from None


def _check_header(present: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in present]
    if missing:
        raise DatasetRefused(f"the source lacks the declared columns: {', '.join(missing)}")
    doubled = [name for name in wanted if present.count(name) > 1]
    if doubled:
        raise DatasetRefused(f"the source names columns more than once: {', '.join(doubled)}")


def _csv_fault(content: bytes) -> str:
    """What keeps a CSV from being read, found by a slow second reading."""
    try:
        with io.TextIOWrapper(io.BytesIO(content), encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            width = len(next(reader))
            for number, row in enumerate(reader, start=1):
                if len(row) > width:
                    return f"row {number} of the source has {len(row)} fields, the header {width}"
    except UnicodeDecodeError:
        return _undecodable(content)
    except csv.Error:
        return "the source is not CSV: a quotation mark is out of place"
    return "the source is not a CSV file that can be read"


def _undecodable(content: bytes) -> str:
    for number, line in enumerate(io.BytesIO(content), start=1):
        try:
            line.decode("utf-8")
        except UnicodeDecodeError:
            return f"line {number} of the source is not text in UTF-8"
    return "the source is not text in UTF-8"


def _numbers(series: pl.Series, column: DeclaredColumn, problems: list[str]) -> NDArray[np.float64]:
    """The column as float64 (n,); what is wrong with it is added to ``problems``."""
    if not (series.dtype.is_numeric() or series.dtype in (pl.String, pl.Boolean)):
        problems.append(f"column {column.name} holds values of type {series.dtype}, not numbers")
        return np.zeros(len(series))
    missing, values = series.is_null(), series.cast(pl.Float64, strict=False)
    if series.dtype == pl.String:
        text = series.str.strip_chars()
        missing = missing | (text == "").fill_null(False)
        if column.kind == "binary":
            text = text.str.to_lowercase().replace(_TRUTH)
        values = text.cast(pl.Float64, strict=False)
    texts = values.is_null() & ~missing
    finite = values.is_finite().fill_null(True)
    _note(problems, column.name, "a missing value", missing)
    _note(problems, column.name, "a text where a number belongs", texts)
    _note(problems, column.name, "a value that is not finite", ~finite)
    if column.kind == "binary":
        other = ~values.is_in([0.0, 1.0]).fill_null(True) & finite
        _note(problems, column.name, "a value that is neither 0 nor 1", other)
    return values.fill_null(0.0).to_numpy().astype(np.float64)


def _note(problems: list[str], name: str, what: str, where: pl.Series) -> None:
    count = int(where.sum())
    if count:
        row = (where.arg_max() or 0) + 1
        problems.append(f"column {name} has {what} in row {row}" + (f" ({count} rows in all)" if count > 1 else ""))


def _ids(frame: pl.DataFrame, schema: Schema, problems: list[str]) -> list[bytes]:
    """One identity a row from the subject column, else from the record's; empty where neither is declared."""
    role, name = ("subject", schema.subject) if schema.subject else ("record", schema.record_id)
    if name is None:
        return []
    series = frame[name]
    if not (series.dtype.is_integer() or series.dtype == pl.String):
        problems.append(f"column {name} identifies the {role}: it must hold integers or texts, not {series.dtype}")
        return []
    text = series.cast(pl.String).str.strip_chars()
    missing = text.is_null() | (text == "").fill_null(False)
    _note(problems, name, "a missing value", missing)
    identities = named_identities(role, text.fill_null("").to_list())
    if role == "record" and not missing.any() and (repeated := _first_repeat(identities)):
        problems.append(f"column {name} has the same record id twice, again in row {repeated}")
    return identities


def _first_repeat(identities: Sequence[bytes]) -> int | None:
    seen: set[bytes] = set()
    for row, identity in enumerate(identities, start=1):
        if identity in seen:
            return row
        seen.add(identity)
    return None
