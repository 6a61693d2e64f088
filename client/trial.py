"""Trying a study in full before anyone is asked: all its rounds on mock rows, computed on this machine."""

from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from client.errors import TrialFailed
from client.simulated_rows import rows_by_silo, with_rows
from client.simulating import simulated
from protocol.membership_statements import DatasetRegistered
from protocol.simulation import RoundSimulated, SimulationJob, SimulationOutcome
from protocol.study import contract_value, parse_training
from protocol.training_study import TrainingContract

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
    tried = parse_training(contract_value(job.contract))
    rounds: list[RoundSimulated] = []
    with closing(simulated(job)) as reports:
        for report in reports:
            if isinstance(report, SimulationOutcome) and isinstance(job.contract, TrainingContract):
                published = {terms.silo: terms.rows for terms in contract.silos}
                return Trial(tried, published, tuple(sorted(files)), tuple(rounds), report)
            if isinstance(report, RoundSimulated):
                rounds.append(report)
                progress(report)
    raise TrialFailed("the trial ended before the study did")


def simulation_job(
    contract: TrainingContract,
    registered: Mapping[str, DatasetRegistered],
    files: Mapping[str, Path],
    most_rows: int,
) -> SimulationJob:
    """What the simulating process is asked. Its contract has as many rows as there will be, so that batches fit."""
    rows = rows_by_silo(contract, registered, files, most_rows)
    return SimulationJob(format="consortia-simulation/1", contract=with_rows(contract, rows.counts), silos=rows.silos)
