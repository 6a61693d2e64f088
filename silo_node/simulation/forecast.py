"""One study at several epsilons, often: what its accuracy would be, before anyone is asked.

Every run is a whole simulated study (``silo_node.simulation.rounds``) with noise of its own. A repeat has one split
into training and held-out rows for all epsilons, so that what differs between them is the noise.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from protocol.simulation import ForecastJob, ForecastPoint, RoundSimulated, RunForecast, SimulationOutcome
from silo_node.simulation.rounds import simulate
from silo_node.simulation.rows import SiloRows, split, values_of
from silo_node.training.noise import NoiseSource

Floats = NDArray[np.float64]


class NothingAdded:
    """Samples as another source does, and adds no noise: on mock and public rows, to tell what noise costs."""

    def __init__(self, source: NoiseSource) -> None:
        self._source = source

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        """``sums`` as they are."""
        return sums

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        """See ``NoiseSource``."""
        return self._source.included(rows, rate)


def forecast(job: ForecastJob, noise: NoiseSource) -> Iterator[RoundSimulated | RunForecast]:
    """Every round as it is done, and each run at its end; first all epsilons once, so that a part is of use too.

    Raises ``DatasetRefused`` or ``Malformed`` where a source doesn't hold the contract's columns.
    """
    contract = job.points[0].contract
    values = {one.silo: values_of(contract, one) for one in job.silos}
    for repeat in range(job.repeats):
        rows = {silo: split(contract, table, repeat) for silo, table in values.items()}
        for place, point in enumerate(job.points):
            yield from _run(point, rows, noise, place, repeat)


def _run(
    point: ForecastPoint, rows: Mapping[str, SiloRows], noise: NoiseSource, place: int, repeat: int
) -> Iterator[RoundSimulated | RunForecast]:
    source = NothingAdded(noise) if point.epsilon is None else noise
    for report in simulate(point.contract, rows, source):
        yield _ended(report, place, repeat) if isinstance(report, SimulationOutcome) else report


def _ended(outcome: SimulationOutcome, place: int, repeat: int) -> RunForecast:
    return RunForecast(
        type="run",
        point=place,
        repeat=repeat,
        exact=outcome.exact,
        told=outcome.accuracy,
        told_error=outcome.standard_error,
        commonest=outcome.commonest,
    )
