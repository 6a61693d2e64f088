"""A statistics study on mock rows or public files, on this machine: what its answers would look like."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from client.errors import TrialFailed
from client.simulated_rows import rows_by_silo, with_rows
from client.simulating import simulated
from client.statistics.answers import Answer, answers
from client.statistics.bundle import StatisticsBundle
from protocol.membership_statements import DatasetRegistered
from protocol.simulation import SimulationJob, StatisticsSimulated
from protocol.statistics_release import shown_totals
from protocol.statistics_study import StatisticsContract
from protocol.study import study_id


@dataclass(frozen=True, slots=True)
class StatisticsTrial:
    """``answers`` as a release would have them; ``files`` names the silos whose rows were read from a file.

    exact: by query, cell after cell, what the answers' totals are without noise and without suppression.
    """

    contract: StatisticsContract
    files: tuple[str, ...]
    answers: tuple[Answer, ...]
    exact: dict[str, tuple[float, ...]]
    clipped: int
    epsilon: float


def try_statistics(
    contract: StatisticsContract,
    registered: Mapping[str, DatasetRegistered],
    files: Mapping[str, Path],
    most_rows: int,
) -> StatisticsTrial:
    """Simulate the study. Raises ``UsageRefused``, ``DraftRefused`` or ``TrialFailed``; see ``client.trial``."""
    rows = rows_by_silo(contract, registered, files, most_rows)
    simulating = with_rows(contract, rows.counts)
    job = SimulationJob(format="consortia-simulation/1", contract=simulating, silos=rows.silos)
    with closing(simulated(job)) as reports:
        for report in reports:
            if isinstance(report, StatisticsSimulated):
                return _trial(simulating, report, rows.public)
    raise TrialFailed("the trial ended before the study did")


def _trial(contract: StatisticsContract, told: StatisticsSimulated, files: tuple[str, ...]) -> StatisticsTrial:
    shown = {one.query: one.values for one in shown_totals(contract, told.noised)}
    bundle = StatisticsBundle(study_id(contract), contract, contract.silo_names, shown)
    exact, start = {}, 0
    for query in contract.queries:
        exact[query.question.name] = told.exact[start : start + query.question.values]
        start += query.question.values
    return StatisticsTrial(contract, files, answers(bundle), exact, told.clipped, told.epsilon)
