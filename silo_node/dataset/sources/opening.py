"""From the path that an owner registers to the source that it names."""

from pathlib import Path
from typing import Final

from silo_node.dataset.sources.csv_file import CsvFile
from silo_node.dataset.sources.description import (
    DESCRIPTIONS,
    FETCHED,
    ImagesDescription,
    SqliteDescription,
    read_description,
    read_query,
)
from silo_node.dataset.sources.source import Source
from silo_node.errors import DatasetRefused

MAX_SOURCE_BYTES: Final = 1024 * 2**30
FORMATS: Final = (".csv", ".parquet", *DESCRIPTIONS)


def open_source(path: Path) -> Source:
    """The table file at ``path``, or what the description there names. Raises ``DatasetRefused``; reads no row."""
    _check_file(path)
    if path.suffix == FETCHED:
        from silo_node.dataset.sources.fetched import FetchedQuery

        return FetchedQuery(path)
    if path.suffix in DESCRIPTIONS:
        return _described(path)
    return _file(path)


def _file(path: Path) -> Source:
    _check_file(path)
    if path.suffix == ".csv":
        return CsvFile(path)
    if path.suffix == ".parquet":
        # Imported here: Arrow and database drivers take memory and time that a CSV doesn't need.
        from silo_node.dataset.sources.parquet_file import ParquetFile

        return ParquetFile(path)
    raise DatasetRefused(f"the source's name ends in {path.suffix or 'nothing'}; read are: {', '.join(FORMATS)}")


def _described(path: Path) -> Source:
    described, folder = read_description(path), path.absolute().parent
    if isinstance(described, ImagesDescription):
        from silo_node.dataset.sources.images import ImageFolder

        return ImageFolder(_file(folder / described.table), folder / described.folder, described.column)
    query = read_query(folder / described.query)
    if isinstance(described, SqliteDescription):
        from silo_node.dataset.sources.sqlite import SqliteQuery

        return SqliteQuery(folder / described.database, query, described.timeout_s)
    from silo_node.dataset.sources.postgresql import PostgresqlQuery

    return PostgresqlQuery(described, folder, query)


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise DatasetRefused(f"source {path} is not a file")
    size = path.stat().st_size
    if size > MAX_SOURCE_BYTES:
        raise DatasetRefused(f"source {path} has {size} bytes, at most {MAX_SOURCE_BYTES} are read")
