"""The node's own way from a database to a study's noised sums: the process that asks, the box, and what it answers."""

import io
import os
import resource
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.sources_table import benchmark_schema, describe, requirement
from protocol.study import parse_training
from protocol.training_study import TrainingContract
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import register
from silo_node.runner.process import Runner
from silo_node.runner.tasks import NormaliseTask

AT = "2026-11-24T00:00:00Z"
LIMIT_S = 600.0


def contract(dataset: str, rows: int) -> TrainingContract:
    """A study on every column, whose round 0 sums one."""
    silos = (("first", 0.5), ("second", 0.25), ("third", 0.25))
    terms = {"rows": rows, "sampling_rate": 0.1, "normaliser": max(1.0, rows / 10)}
    words: dict[str, Any] = {
        "format": "consortia-study/1",
        "title": "Benchmark",
        "purpose": "method-research",
        "description": "A benchmark",
        "legal_basis": "None",
        "kind": "training",
        "lead": "ada-r",
        "recipients": ["ada-r"],
        "expires_at": "2030-01-01T00:00:00Z",
        "data": requirement(dataset).model_dump(mode="json"),
        "privacy": {"unit": "subject", "epsilon": 50.0, "delta": 1e-3, "order": 4},
        "normalisation": {"columns": ["c0"], "clip": 1.5, "noise_multiplier": 2.0},
        "model": {"family": "logistic"},
        "training": {
            "rounds": 1,
            "local_steps": 1,
            "learning_rate": 0.1,
            "weight_decay": 0.0,
            "clip": 1.0,
            "noise_multiplier": 200.0,
            "averaged_rounds": 1,
        },
        "evaluation": {"test_share": 0.2, "noise_multiplier": 2.0},
        "silos": [{"silo": silo, "weight": weight, **terms} for silo, weight in silos],
        "sealing": {
            "values_per_slot": 3,
            "normalisation_exponent": 10,
            "training_exponent": 3,
            "evaluation_exponent": 10,
        },
        "schedule": {"quorum": 3, "step_timeout_s": 60},
        "release": {"approvals": 2},
    }
    return parse_training(words)


def register_all(folder: Path, uri: str, tables: Mapping[str, int]) -> None:
    """Makes the silo that has each of ``tables``, with so many rows, as a dataset."""
    catalogue = Catalogue(folder / "silo" / "datasets")
    for table, rows in tables.items():
        source = describe(folder, uri, table)
        asked = register(table, source, benchmark_schema(), "patients", 50.0, 1e-3, 4, rows)
        catalogue.add(asked, catalogue.check, AT)


def measured(folder: Path, table: str, rows: int) -> dict[str, float]:
    """One round 0: seconds from the task to its answer, and what both processes took for it.

    That of the box is looked at while it is kept: bubblewrap doesn't hand on what it used.
    """
    task = NormaliseTask(contract(table, rows), "first")
    with Runner(folder / "silo" / "datasets", limit_s=LIMIT_S, warm=False) as runner:
        started = time.perf_counter()
        runner.run(task, io.BytesIO())
        seconds = time.perf_counter() - started
        box = max((_used(process) for process in _family(runner.process_id or 0)), key=lambda used: used[1])
    asking = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "seconds": seconds,
        "cpu_seconds": box[0] + asking.ru_utime + asking.ru_stime,
        "peak_mb": box[1],
        "asking_peak_mb": asking.ru_maxrss / 1024,
    }


def _family(process: int) -> list[int]:
    """The process and those that it started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    return [process, *(one for child in children for one in _family(int(child)))]


def _used(process: int) -> tuple[float, float]:
    """Seconds of computing, and the highest resident memory in MiB."""
    times = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    status = dict(line.split(":", 1) for line in Path(f"/proc/{process}/status").read_text().splitlines())
    ticks = os.sysconf("SC_CLK_TCK")
    return (int(times[11]) + int(times[12])) / ticks, int(status["VmHWM"].split()[0]) / 1024
