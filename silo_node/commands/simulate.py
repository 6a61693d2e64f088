"""``consortia-silo simulate``: a study on mock or public rows, asked for on standard input and told on standard output.

``consortia study try`` and ``consortia study simulate`` start it. It opens no silo's folder, no dataset and no network.
"""

import sys

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
    if isinstance(job, SimulationJob) and isinstance(job.contract, StatisticsContract):
        from silo_node.simulation.statistics import simulate_statistics

        _say(simulate_statistics(job.contract, job.silos))
        return
    # Imported here: torch takes seconds, and no other command needs it.
    from silo_node.simulation.forecast import forecast
    from silo_node.simulation.rounds import simulate
    from silo_node.simulation.rows import rows_of
    from silo_node.training.noise import SystemNoise

    if isinstance(job, ForecastJob):
        for report in forecast(job, SystemNoise()):
            _say(report)
        return
    contract = job.contract
    if isinstance(contract, TrainingContract):
        rows = {one.silo: rows_of(contract, one) for one in job.silos}
        for done in simulate(contract, rows, SystemNoise()):
            _say(done)


def _refuse(reason: str) -> None:
    sys.stdout.write(SimulationRefused(type="refused", reason=as_sentence(reason)).model_dump_json() + "\n")
    raise typer.Exit(1)


def _say(report: Report) -> None:
    sys.stdout.write(report.model_dump_json() + "\n")
    sys.stdout.flush()
