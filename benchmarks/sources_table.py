"""The table that ``benchmarks.sources`` reads, and what its owner and a study say of it."""

from pathlib import Path
from typing import TYPE_CHECKING, Final

from adbc_driver_postgresql import dbapi

if TYPE_CHECKING:
    from protocol.training_study import DataRequirement
    from silo_node.dataset.schema import Schema

COLUMNS: Final = 50
NUMBERS: Final = tuple(f"c{place}" for place in range(COLUMNS - 1))
QUERY: Final = "SELECT * FROM visit"


def fill(uri: str, rows: int, table: str = "visit") -> None:
    """A table of ``rows`` rows: an id, 49 numbers and a yes/no column."""
    numbers = ", ".join(f"random() * 100 AS {name}" for name in NUMBERS)
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        made = f"SELECT g AS id, {numbers}, (random() > 0.5)::int AS ill FROM generate_series(1, {rows}) AS g"  # noqa: S608
        cursor.execute(f"CREATE TABLE {table} AS {made}")
        cursor.execute(f"ALTER TABLE {table} ADD PRIMARY KEY (id)")
        cursor.execute(f"VACUUM ANALYZE {table}")


def benchmark_schema() -> "Schema":
    """What the table's owner declares of it."""
    from silo_node.dataset.schema import parse_schema

    lines = "".join(f"  - {{name: {name}, kind: number, minimum: 0, maximum: 100}}\n" for name in NUMBERS)
    head = "format: consortia-schema/1\ntitle: T\nsensitivity: personal\nsubject: id\ntarget: ill\ncolumns:\n"
    return parse_schema(head + lines + "  - {name: ill, kind: binary}\n", "benchmark")


def requirement(dataset: str) -> "DataRequirement":
    """All columns: the numbers as features, the last as the target."""
    from protocol.clauses import Column
    from protocol.training_study import DataRequirement

    return DataRequirement(
        dataset=dataset,
        features=tuple(Column(name=name, kind="number", minimum=0.0, maximum=100.0) for name in NUMBERS),
        target=Column(name="ill", kind="binary", minimum=0.0, maximum=1.0),
    )


def describe(folder: Path, uri: str, table: str = "visit") -> Path:
    """The source that an owner registers for ``table``."""
    (folder / f"{table}.sql").write_text(QUERY.replace("visit", table))
    place = f"host: {uri.partition('host=')[2]}\ndatabase: postgres\nuser: postgres\nquery: {table}.sql\n"
    source = folder / f"{table}.yaml"
    source.write_text("format: consortia-source/1\nkind: postgresql\n" + place)
    return source
