"""A source that is more than one file: a YAML description of a database query, or of a folder of images.

No password can stand in it: it names a file. Paths in it are relative to its own folder.
"""

from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError

from protocol.ids import ColumnName, Printable, Strict
from protocol.study import explain
from silo_node.errors import DatasetRefused

MAX_DESCRIPTION_BYTES: Final = 64 * 1024
MAX_QUERY_BYTES: Final = 256 * 1024
DESCRIPTIONS: Final = (".yaml", ".yml")
FETCHED: Final = ".fetched"
"""How the file's name ends that holds what a query gave."""

Place = Annotated[Printable, Field(min_length=1, max_length=4096)]
Word = Annotated[Printable, Field(min_length=1, max_length=255)]
Seconds = Annotated[int, Field(ge=1, le=86_400)]


class PostgresqlDescription(Strict):
    """A query to PostgreSQL. ``host`` is a name, an address, or the folder of a socket. ``password_file``: 0600."""

    format: Literal["consortia-source/1"]
    kind: Literal["postgresql"]
    host: Word
    port: Annotated[int, Field(ge=1, le=65_535)] = 5432
    database: Word
    user: Word
    password_file: Place | None = None
    tls: Literal["verify-full", "require", "none"] = "verify-full"
    authority: Place | None = None
    query: Place
    timeout_s: Seconds = 600


class SqliteDescription(Strict):
    """A query to an SQLite file."""

    format: Literal["consortia-source/1"]
    kind: Literal["sqlite"]
    database: Place
    query: Place
    timeout_s: Seconds = 600


class ImagesDescription(Strict):
    """A table, whose column of kind image names files in ``folder``."""

    format: Literal["consortia-source/1"]
    kind: Literal["images"]
    table: Place
    folder: Place
    column: ColumnName


Description = Annotated[PostgresqlDescription | SqliteDescription | ImagesDescription, Field(discriminator="kind")]
_ADAPTER: Final = TypeAdapter[PostgresqlDescription | SqliteDescription | ImagesDescription](Description)


def read_description(path: Path) -> PostgresqlDescription | SqliteDescription | ImagesDescription:
    """The description in ``path``. Raises ``DatasetRefused`` naming every field that is wrong, and no value."""
    return parse_description(read_text(path, MAX_DESCRIPTION_BYTES), path.name)


def parse_description(text: str, origin: str) -> PostgresqlDescription | SqliteDescription | ImagesDescription:
    """The description in YAML ``text``. Raises ``DatasetRefused`` naming ``origin``."""
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, RecursionError, ValueError):
        raise DatasetRefused(f"source {origin} is not YAML") from None
    try:
        return _ADAPTER.validate_python(value)
    except ValidationError as error:
        raise DatasetRefused(f"source {origin} refused: {explain(error)}") from None


def needs_network(source: Path) -> bool:
    """Whether reading ``source`` takes a network, which the process that computes has not."""
    if source.suffix not in DESCRIPTIONS:
        return False
    try:
        return isinstance(read_description(source), PostgresqlDescription)
    except DatasetRefused:
        return False


def files_of(source: Path) -> tuple[Path, ...]:
    """All files and folders that reading ``source`` needs, itself first; nothing that it names if it can't be read."""
    if source.suffix not in DESCRIPTIONS:
        return (source,)
    try:
        described = read_description(source)
    except DatasetRefused:
        return (source,)
    named: tuple[str | None, ...]
    match described:
        case ImagesDescription():
            named = (described.table, described.folder)
        case SqliteDescription():
            # Beside the database lies what was written to it last.
            named = (described.query, described.database, f"{described.database}-wal", f"{described.database}-shm")
        case PostgresqlDescription():
            named = (described.query, described.password_file, described.authority)
    folder = source.absolute().parent
    return (source, *(folder / one for one in named if one))


def read_text(path: Path, most: int) -> str:
    """The text in ``path``, of at most ``most`` bytes. Raises ``DatasetRefused``."""
    try:
        with path.open("rb") as file:
            data = file.read(most + 1)
    except OSError as error:
        raise DatasetRefused(f"{path} cannot be read: {error.strerror}") from None
    if len(data) > most:
        raise DatasetRefused(f"{path} has more than {most} bytes")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise DatasetRefused(f"{path} is not text in UTF-8") from None


def read_query(path: Path) -> str:
    """The query in ``path``, without a semicolon at its end. Raises ``DatasetRefused``."""
    query = read_text(path, MAX_QUERY_BYTES).strip().removesuffix(";").rstrip()
    if not query:
        raise DatasetRefused(f"query {path} is empty")
    if "\0" in query:
        raise DatasetRefused(f"query {path} holds a zero byte")
    return query
