"""What the silo's ledger costs, and what its filter saves: `python -m benchmarks.ledger --json`.

Three figures, in one run:

- how many equal studies fit in epsilon 8 (delta 1e-5) by the filter, and how many where their epsilons are added up;
- a reserve and its settlement, each on the disk before it is answered, one after the other: median and 99th percentile;
- the same by four processes at once on one file, beside two commits of SQLite alone in the same folder.
"""

import argparse
import json
import os
import platform
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from statistics import quantiles
from tempfile import TemporaryDirectory
from typing import Any

from protocol.accounting import cost_of, epsilon_at
from protocol.spend import Event, Gaussian, SampledGaussian
from silo_node.ledger.budget import Admitted, PrivacyDomain, Settled
from silo_node.ledger.caps import EACH, SCOPES, Cap, Use
from silo_node.ledger.sqlite import SqliteLedger

EPSILON, DELTA = 8.0, 1e-5
ENDS = Gaussian(noise_multiplier=12.0, count=1, unit="subject")
"""Normalisation, and evaluation."""
STUDIES: dict[str, tuple[Event, ...]] = {
    "every row at each of 50 steps": (
        ENDS,
        SampledGaussian(sampling_rate=1.0, noise_multiplier=24.3, steps=50, unit="subject"),
        ENDS,
    ),
    "a sample of 3 % at each of 50 steps": (
        ENDS,
        SampledGaussian(sampling_rate=0.03, noise_multiplier=1.3, steps=50, unit="subject"),
        ENDS,
    ),
}
"""Each of epsilon 1.3 at most by itself."""
ROUND: tuple[Event, ...] = (SampledGaussian(sampling_rate=0.01, noise_multiplier=100.0, steps=5, unit="subject"),)
WORKERS = 4


def fitting(study: tuple[Event, ...]) -> dict[str, Any]:
    """Equal studies under one cap, counted by a real ledger and by their epsilons."""
    domain = PrivacyDomain.at_best_order("patients", "subject", EPSILON, DELTA)
    # The best that each study can claim alone, at an order of its own: who adds epsilons would take that one.
    alone = min(epsilon_at(cost_of(study, order), DELTA, order) for order in range(2, 257))
    with TemporaryDirectory() as folder:
        ledger, fit = _opened(Path(folder), domain), 0
        while isinstance(ledger.reserve("patients", f"s{fit}:0", study, Use("heart", f"s{fit}", ("ada",))), Admitted):
            fit += 1
        ledger.close()
    assert fit == domain.cap_picos // cost_of(study, domain.order), "the forecast and the ledger differ"
    added = int(EPSILON // alone)
    return {"order": domain.order, "epsilon_alone": alone, "by_filter": fit, "by_adding_epsilons": added}


def durable(rounds: int, folder: Path) -> dict[str, Any]:
    """Seconds of reserve and settle, one process, with a cap on each study, dataset and recipient."""
    ledger = _opened(folder, _roomy())
    reserved, settled, both = [], [], []
    begun = time.process_time()
    for number in range(rounds):
        times = _round(ledger, f"study-{number // 50}", number)
        reserved.append(times[0])
        settled.append(times[1])
        both.append(sum(times))
    cpu = round(1000 * (time.process_time() - begun) / rounds, 3)
    ledger.close()
    spreads = {"reserve": _spread(reserved), "settle": _spread(settled), "both": _spread(both)}
    return {**spreads, "cpu_ms": cpu, "rounds": rounds}


def at_once(rounds: int, folder: Path) -> dict[str, Any]:
    """The same by four processes on one file."""
    _opened(folder, _roomy()).close()
    command = [sys.executable, "-m", "benchmarks.ledger", "--worker", str(folder), "--rounds", str(rounds)]
    started = time.perf_counter()
    workers = [subprocess.Popen([*command, "--name", f"w{n}"], stdout=subprocess.PIPE) for n in range(WORKERS)]
    answers = [json.loads(worker.communicate()[0]) for worker in workers]
    seconds = time.perf_counter() - started
    ledger = _opened(folder, _roomy())
    entries = ledger.head().length
    ledger.close()
    assert entries == 4 + 2 * WORKERS * rounds, "an entry was lost"
    both = [one for answer in answers for one in answer]
    return {"both": _spread(both), "processes": WORKERS, "rounds": WORKERS * rounds, "wall_s": seconds}


def bare(times: int, folder: Path) -> dict[str, float]:
    """Two commits of 300 bytes by SQLite alone, as durable as the ledger's: what a reserve and a settlement rest on."""
    found = []
    with closing(sqlite3.connect(folder / "bare.sqlite", isolation_level=None)) as connection:
        connection.executescript(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE entry (body BLOB);"
        )
        for _ in range(times):
            started = time.perf_counter()
            for _ in range(2):
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("INSERT INTO entry VALUES (?)", (bytes(300),))
                connection.execute("COMMIT")
            found.append(time.perf_counter() - started)
    return _spread(found)


def worker(folder: Path, name: str, rounds: int) -> list[float]:
    """Seconds of each reserve and settle."""
    ledger = _opened(folder, _roomy())
    found = [sum(_round(ledger, f"{name}-{number // 50}", number)) for number in range(rounds)]
    ledger.close()
    return found


def _round(ledger: SqliteLedger, study: str, number: int) -> tuple[float, float]:
    use, charge = Use("heart", study, ("ada", "grace")), f"{study}:{number}"
    started = time.perf_counter()
    admitted = ledger.reserve("patients", charge, ROUND, use)
    between = time.perf_counter()
    settled = ledger.settle(charge, ROUND)
    ended = time.perf_counter()
    assert isinstance(admitted, Admitted) and isinstance(settled, Settled)
    return between - started, ended - between


def _roomy() -> PrivacyDomain:
    return PrivacyDomain("patients", "subject", 1000.0, DELTA, 4)


def _opened(folder: Path, domain: PrivacyDomain) -> SqliteLedger:
    """A ledger of one domain with a cap of each scope, which an admission has to look at."""
    ledger = SqliteLedger(folder / "ledger" / "ledger.sqlite", lambda: datetime.now(UTC))
    ledger.register(domain)
    for scope in SCOPES:
        ledger.cap(Cap("patients", scope, EACH, domain.cap_picos))
    return ledger


def _spread(seconds: list[float]) -> dict[str, float]:
    cuts = quantiles(seconds, n=100)
    found = {"least_ms": min(seconds), "median_ms": cuts[49], "p99_ms": cuts[98]}
    return {name: round(1000 * one, 3) for name, one in found.items()}


def measure(rounds: int) -> dict[str, Any]:
    machine = {"cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1), "python": platform.python_version()}
    with TemporaryDirectory(dir=Path.cwd()) as one, TemporaryDirectory(dir=Path.cwd()) as four:
        return {
            "machine": machine,
            "epsilon": EPSILON,
            "delta": DELTA,
            "studies": {name: fitting(study) for name, study in STUDIES.items()},
            "two_bare_commits": bare(rounds, Path(one)),
            "alone": durable(rounds, Path(one)),
            "at_once": at_once(rounds // WORKERS, Path(four)),
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--name", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker is not None:
        print(json.dumps(worker(given.worker, given.name, given.rounds)))
        return
    found = measure(given.rounds)
    if given.json:
        print(json.dumps(found, indent=1))
        return
    for name, one in found["studies"].items():
        fit, added = one["by_filter"], one["by_adding_epsilons"]
        print(f"epsilon {EPSILON:g} pays for {fit} studies by the filter, {added} where epsilons are added up: {name}")
    for name in ("two_bare_commits", "alone", "at_once"):
        print(name, found[name])


if __name__ == "__main__":
    main()
