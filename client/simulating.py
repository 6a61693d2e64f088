"""The process that simulates studies for the client.

Training needs torch, which the client doesn't have: ``consortia-silo simulate`` is started for it, told what to do on
its standard input, and given nothing else of this process's: no key, no hub, no environment.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final, cast

from pydantic import ValidationError

from client.errors import TrialFailed, UsageRefused
from protocol.simulation import REPORT, ForecastJob, Report, SimulationJob, SimulationRefused

COMMAND: Final = "consortia-silo"
INSTALL: Final = "pip install -c constraints.txt '.[silo]'"


def simulated(job: SimulationJob | ForecastJob) -> Generator[Report]:
    """What the process reports, as it does; it is gone when this is over, however that comes about.

    Whoever has read all that they wait for stops here. Raises ``UsageRefused`` where no process can be started, and
    ``TrialFailed`` where it refuses, says something else, or ends.
    """
    with _simulation() as simulation:
        yield from _reports(simulation, job)
        raise _ended(simulation)


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


def _reports(simulation: _Simulation, job: SimulationJob | ForecastJob) -> Iterator[Report]:
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
