"""``consortia-silo simulate``: a study on mock rows, asked for on standard input and told on standard output.

``consortia study try`` starts it. It opens no silo's folder, no dataset and no network.
"""

import sys

import typer
from pydantic import ValidationError

from protocol.errors import ProtocolError
from protocol.ids import as_sentence
from protocol.simulation import SimulationJob, SimulationRefused, Told
from protocol.statistics_study import StatisticsContract
from protocol.study import explain
from silo_node.errors import SiloError

app = typer.Typer()


@app.command("simulate", hidden=True)
def simulate_() -> None:
    """Simulate the study of a job (protocol.simulation) on standard input; a line of JSON a round, then the outcome."""
    try:
        _simulate(SimulationJob.model_validate_json(sys.stdin.buffer.read()))
    except ValidationError as error:
        _refuse(f"the job is refused: {explain(error)}")
    except (SiloError, ProtocolError) as error:
        _refuse(str(error))


def _simulate(job: SimulationJob) -> None:
    if isinstance(job.contract, StatisticsContract):
        from silo_node.simulation.statistics import simulate_statistics

        _say(simulate_statistics(job.contract, job.silos))
        return
    # Imported here: torch takes seconds, and no other command needs it.
    from silo_node.simulation.rounds import simulate
    from silo_node.simulation.rows import rows_of
    from silo_node.training.noise import SystemNoise

    rows = {one.silo: rows_of(job.contract, one) for one in job.silos}
    for report in simulate(job.contract, rows, SystemNoise()):
        _say(report)


def _refuse(reason: str) -> None:
    _say(SimulationRefused(type="refused", reason=as_sentence(reason)))
    raise typer.Exit(1)


def _say(report: Told) -> None:
    sys.stdout.write(report.model_dump_json() + "\n")
    sys.stdout.flush()
