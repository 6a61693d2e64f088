"""``consortia-silo simulate``: a study on mock or public rows, asked for on standard input and told on standard output.

``consortia study try`` and ``consortia study simulate`` start it. It opens no silo's folder, no dataset and no network.
"""

import sys
from collections.abc import Iterator

import typer
from pydantic import ValidationError

from protocol.errors import ProtocolError
from protocol.ids import as_sentence
from protocol.simulation import JOB, ForecastJob, Job, Report, SimulationJob, SimulationRefused
from protocol.statistics_study import StatisticsContract
from protocol.study import explain
from protocol.training_study import TrainingContract
from silo_node.errors import SiloError

app = typer.Typer()


@app.command("simulate", hidden=True)
def simulate_() -> None:
    """Simulate the studies of a job (protocol.simulation) on standard input; a line of JSON a round, or an end."""
    try:
        _simulate(JOB.validate_json(sys.stdin.buffer.read()))
    except ValidationError as error:
        _refuse(f"the job is refused: {explain(error)}")
    except (SiloError, ProtocolError) as error:
        _refuse(str(error))


def _simulate(job: Job) -> None:
    for report in _reports(job):
        sys.stdout.write(report.model_dump_json() + "\n")
        sys.stdout.flush()


def _reports(job: Job) -> Iterator[Report]:
    # Imported where they are needed: torch takes seconds.
    match job:
        case SimulationJob(contract=StatisticsContract() as contract):
            from silo_node.simulation.statistics import simulate_statistics

            yield simulate_statistics(contract, job.silos)
        case SimulationJob(contract=TrainingContract() as contract):
            from silo_node.simulation.rounds import simulate
            from silo_node.simulation.rows import rows_of
            from silo_node.training.noise import SystemNoise

            rows = {one.silo: rows_of(contract, one) for one in job.silos}
            yield from simulate(contract, rows, SystemNoise())
        case ForecastJob():
            from silo_node.simulation.forecast import forecast
            from silo_node.training.noise import SystemNoise

            yield from forecast(job, SystemNoise())


def _refuse(reason: str) -> None:
    sys.stdout.write(SimulationRefused(type="refused", reason=as_sentence(reason)).model_dump_json() + "\n")
    raise typer.Exit(1)
