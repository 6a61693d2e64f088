"""What the hub adds in a second: its pool of processes and Ray over the same blobs, and a plain sum as the limit.

    python -m benchmarks.aggregators --values 10000000 --silos 4 --json

A job is a chunk of all silos: read from the folder of blobs, checked, added, and its sum written and synced there.
Starting processes and Ray is not timed. The plain sum reads the same files in one process and adds them modulo Q as
words: nothing is checked, unpacked or written. Figures are medians over `--runs` runs in which all alternate.
"""

import argparse
import json
import queue
import secrets
import statistics
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hub.aggregation.aggregator import Added, Outcome, SumJob
from hub.aggregation.executor import Executor
from hub.aggregation.process_pool import ProcessPool
from hub.aggregation.ray_driver import LOCAL, RayCluster
from hub.aggregation.ray_executor import RayExecutor
from hub.aggregation.supervisor import Supervisor
from hub.store.blobs import BlobPlace, upload_name
from protocol.sealing import wire
from protocol.sealing.parameters import RING_DEGREE, Layout

WORKERS = (1, 2)
Figures = dict[str, float]
EXECUTORS: dict[str, Callable[[int], Executor]] = {
    "processes": ProcessPool,
    "ray": lambda workers: RayExecutor(RayCluster(LOCAL, workers)),
}


class Timed:
    """An aggregator that is up, and how long it takes for jobs."""

    def __init__(self, new: Callable[[], Executor]) -> None:
        self._told: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._aggregator = Supervisor(new)
        self._aggregator.start(lambda job, outcome: self._told.put(outcome))
        self.close = self._aggregator.close

    def seconds(self, jobs: list[SumJob]) -> float:
        """Raises `AssertionError` when a chunk couldn't be added."""
        # A sum is never written twice: each run has a place of its own.
        place = secrets.token_hex(32)
        started = time.perf_counter()
        for job in jobs:
            self._aggregator.submit(replace(job, survivors=place))
        outcomes = [self._told.get() for _ in jobs]
        seconds = time.perf_counter() - started
        assert all(isinstance(outcome, Added) for outcome in outcomes), outcomes
        return seconds


def measure(values: int, silos: int, runs: int) -> Figures:
    """MB/s of every executor with 1 and 2 workers, and of the plain sum."""
    layout, names = Layout.single(values, silos), tuple(f"silo-{number:03}" for number in range(silos))
    taken: dict[str, list[float]] = {}
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="aggregators-")))
        place = BlobPlace(f"file://{folder}")
        jobs = [SumJob(place, "a" * 64, 0, 1, "", index, names, names, layout) for index in range(layout.chunks)]
        size = sum(_upload(folder, job, silo) for job in jobs for silo in names)
        timed = {}
        for workers in WORKERS:
            for name, new in EXECUTORS.items():
                made = timed[f"{name}_{workers}"] = Timed(lambda new=new, workers=workers: new(workers))  # type: ignore[misc]
                stack.callback(made.close)
                made.seconds(jobs)  # all workers have imported what they need, and the files are in memory
        for _ in range(runs):
            for name, one in timed.items():
                taken.setdefault(name, []).append(one.seconds(jobs))
            taken.setdefault("plain", []).append(_plain(folder, jobs))
    speeds = {f"{name}_mb_per_s": size / 1e6 / statistics.median(seconds) for name, seconds in taken.items()}
    return {"values": values, "silos": silos, "chunks": layout.chunks, "mb": size / 1e6, "runs": runs, **speeds}


def _upload(folder: Path, job: SumJob, silo: str) -> int:
    """Write a chunk that nobody can open; to the hub any coefficients below Q are a term. Its bytes."""
    records = wire.blank_chunk(job.layout.ciphertexts_in(job.position), seeds=1)
    random = np.random.default_rng()
    wire.put_polynomials(records, random.integers(1, 1 << 59, (records.size, RING_DEGREE), dtype=np.uint64))
    records["seeds"] = random.integers(0, 256, records["seeds"].shape, dtype=np.uint8)
    path = folder / upload_name(job.study, job.round, job.attempt, silo, job.position)
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(records.tobytes())


def _plain(folder: Path, jobs: list[SumJob]) -> float:
    started = time.perf_counter()
    for job in jobs:
        total = np.zeros(job.layout.upload_chunk_bytes(job.position) // 8, dtype=np.uint64)
        for silo in job.silos:
            path = folder / upload_name(job.study, job.round, job.attempt, silo, job.position)
            wire.add_modulo(total, np.frombuffer(path.read_bytes(), dtype=np.uint64))
    return time.perf_counter() - started


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.aggregators", description=__doc__.splitlines()[0])
    parser.add_argument("--values", type=int, default=10_000_000, help="length of the vector")
    parser.add_argument("--silos", type=int, default=4, help="silos that contribute, 2 to 256")
    parser.add_argument("--runs", type=int, default=5, help="runs whose medians are given")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    figures = measure(asked.values, asked.silos, asked.runs)
    if asked.json:
        print(json.dumps(figures))
        return
    table = Table("figure", "value", title="Adding")
    for key, value in figures.items():
        table.add_row(key.replace("_", " "), f"{value:,.0f}")
    Console().print(table)


if __name__ == "__main__":
    main()
