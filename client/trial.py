"""Trying a study in full before anyone is asked: all its rounds on mock rows, computed on this machine.

Training needs torch, which the client doesn't have: ``consortia-silo simulate`` is started for it, told what to do on
its standard input, and given nothing else of this process's: no key, no hub, no environment.
"""

import csv
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from pydantic import ValidationError

from client.errors import TrialFailed, UsageRefused
from protocol.errors import DraftRefused, Malformed
from protocol.membership_statements import DatasetRegistered
from protocol.mock import MAX_VALUES
from protocol.simulation import (
    REPORT,
    FileSource,
    MockSource,
    RoundSimulated,
    SimulatedSilo,
    SimulationJob,
    SimulationOutcome,
    SimulationRefused,
)
from protocol.study import contract_value, parse_training
from protocol.training_study import TrainingContract

COMMAND: Final = "consortia-silo"
INSTALL: Final = "pip install -c constraints.txt '.[silo]'"
USUAL_ROWS: Final = 20_000
"""How many rows a silo are simulated at most, unless more are asked for."""

Progress = Callable[[RoundSimulated], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """What a study came to on mock rows. ``files`` names the silos whose rows were read from a file instead.

    contract: what was simulated: the study's own, where no silo published more rows than were asked for.
    published: by silo, the rows that the study's own contract gives it.
    """

    contract: TrainingContract
    published: dict[str, int]
    files: tuple[str, ...]
    rounds: tuple[RoundSimulated, ...]
    outcome: SimulationOutcome


def try_study(
    contract: TrainingContract,
    registered: Mapping[str, DatasetRegistered],
    files: Mapping[str, Path],
    most_rows: int,
    progress: Progress,
) -> Trial:
    """Simulate every round of ``contract``. Raises ``UsageRefused``, ``DraftRefused`` or ``TrialFailed``.

    registered: by silo, what it published of the study's dataset. files: by silo, a CSV file of public data to take in
    place of mock rows. most_rows: a silo with more published rows is simulated with this many.
    """
    job = simulation_job(contract, registered, files, most_rows)
    rounds: list[RoundSimulated] = []
    with _simulation() as simulation:
        for report in _reports(simulation, job):
            if isinstance(report, SimulationOutcome):
                published = {terms.silo: terms.rows for terms in contract.silos}
                return Trial(job.contract, published, tuple(sorted(files)), tuple(rounds), report)
            rounds.append(report)
            progress(report)
        raise _ended(simulation)


def simulation_job(
    contract: TrainingContract,
    registered: Mapping[str, DatasetRegistered],
    files: Mapping[str, Path],
    most_rows: int,
) -> SimulationJob:
    """What the simulating process is asked. Its contract has as many rows as there will be, so that batches fit."""
    unknown = sorted(set(files) - set(contract.silo_names))
    if unknown:
        raise UsageRefused(f"--data: {unknown[0]} is no silo of the study; it has {', '.join(contract.silo_names)}")
    rows = {terms.silo: min(terms.rows, most_rows) for terms in contract.silos}
    rows |= {silo: min(_rows_in(path), most_rows) for silo, path in files.items()}
    _check_size(contract, rows)
    silos = []
    for silo in contract.silo_names:
        if silo in files:
            source: FileSource | MockSource = FileSource(kind="file", path=str(files[silo].absolute()))
        else:
            body = registered[silo]
            source = MockSource(kind="mock", dataset=body.dataset, columns=body.columns)
        silos.append(SimulatedSilo(silo=silo, source=source))
    return SimulationJob(format="consortia-simulation/1", contract=_with_rows(contract, rows), silos=tuple(silos))


def _with_rows(contract: TrainingContract, rows: Mapping[str, int]) -> TrainingContract:
    """The same study over other row counts: weights and noise stay, the expected batches follow."""
    value = contract_value(contract)
    kept = 1.0 - contract.evaluation.test_share
    for terms in value["silos"]:
        if terms["rows"] != rows[terms["silo"]]:
            terms["rows"] = rows[terms["silo"]]
            terms["normaliser"] = max(1.0, terms["rows"] * kept * terms["sampling_rate"])
    try:
        return parse_training(value)
    except Malformed as error:
        raise DraftRefused(f"with the rows of this trial: {error}") from None


def _check_size(contract: TrainingContract, rows: Mapping[str, int]) -> None:
    values = sum(rows.values()) * (len(contract.data.features) + 1)
    if values > MAX_VALUES:
        raise UsageRefused(
            f"--rows: {sum(rows.values())} rows of {len(contract.data.features) + 1} columns are {values} values; "
            f"at most {MAX_VALUES} are simulated, so take fewer rows a silo"
        )


def _rows_in(path: Path) -> int:
    try:
        with path.open(newline="", encoding="utf-8") as file:
            count = sum(1 for row in csv.reader(file) if row) - 1
    except OSError as error:
        raise UsageRefused(f"--data: {path} can't be read: {error.strerror}") from None
    except (UnicodeDecodeError, csv.Error):
        raise UsageRefused(f"--data: {path.name} is not CSV in UTF-8") from None
    if count < 1:
        raise UsageRefused(f"--data: {path.name} has no rows below its header")
    return count


@dataclass(frozen=True, slots=True)
class _Simulation:
    """The started command: what it is told, what it answers, and what it complains of."""

    process: "subprocess.Popen[bytes]"
    told: IO[bytes]
    answers: IO[bytes]
    complaints: IO[bytes]


@contextmanager
def _simulation() -> Iterator[_Simulation]:
    """The command, gone when the block ends however it ends."""
    # A file, since nobody reads a pipe of complaints while answers are awaited.
    with tempfile.TemporaryFile() as complaints:
        process = subprocess.Popen(
            [silo_command(), "simulate"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=complaints,
            env={"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8", "OMP_NUM_THREADS": "1"},
        )
        with process:
            try:
                pipes = cast(IO[bytes], process.stdin), cast(IO[bytes], process.stdout)
                yield _Simulation(process, *pipes, complaints)
            finally:
                process.kill()


def silo_command() -> str:
    """Where the command is that has torch: beside this one, or on the path. Raises ``UsageRefused``."""
    beside = Path(sys.executable).with_name(COMMAND)
    found = str(beside) if beside.is_file() else shutil.which(COMMAND)
    if found is None:
        raise UsageRefused(f"no {COMMAND} command on this machine, which has torch; install: {INSTALL}")
    return found


def _reports(simulation: _Simulation, job: SimulationJob) -> Iterator[RoundSimulated | SimulationOutcome]:
    try:
        with simulation.told as told:
            told.write(job.model_dump_json().encode())
    except BrokenPipeError:
        return
    for line in simulation.answers:
        try:
            report = REPORT.validate_json(line)
        except ValidationError:
            raise TrialFailed(f"{COMMAND} says what no simulation says; are both of one version?") from None
        if isinstance(report, SimulationRefused):
            raise TrialFailed(f"the trial stopped: {report.reason}")
        yield report


def _ended(simulation: _Simulation) -> TrialFailed:
    code = simulation.process.wait()
    simulation.complaints.seek(0)
    said = simulation.complaints.read().decode("utf-8", "replace")
    if "ModuleNotFoundError" in said:
        return TrialFailed(f"{COMMAND} lacks what training needs; install: {INSTALL}")
    last = json.dumps(said.strip().splitlines()[-1][:200]) if said.strip() else "nothing"
    return TrialFailed(f"{COMMAND} ended with {code} before the study did; it said {last}")
