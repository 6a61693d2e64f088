"""The bundle that silos release of a statistics study, read and checked against the contract it names."""

from dataclasses import dataclass

from pydantic import ValidationError

from client.errors import BundleRefused
from protocol import canonical
from protocol.errors import Malformed
from protocol.statistics_release import StatisticsRelease
from protocol.statistics_study import Query, StatisticsContract
from protocol.study import explain, parse_statistics, study_id


@dataclass(frozen=True, slots=True)
class StatisticsBundle:
    """Released totals: by query, cell after cell, None where a cell was too small. ``silos`` are those added up."""

    study: str
    contract: StatisticsContract
    silos: tuple[str, ...]
    totals: dict[str, tuple[float | None, ...]]

    def cells_of(self, query: Query) -> list[tuple[float, ...] | None]:
        """A query's cells in order, each with its components."""
        size, values = query.question.components, self.totals[query.question.name]
        cells = [values[start : start + size] for start in range(0, len(values), size)]
        return [None if None in cell else tuple(one for one in cell if one is not None) for cell in cells]


def read_statistics(data: bytes, study: str) -> StatisticsBundle:
    """The bundle of ``study`` in ``data``. Raises ``BundleRefused`` for anything else."""
    try:
        release = StatisticsRelease.model_validate_json(canonical.encode(canonical.decode(data)))
        contract = parse_statistics(release.contract)
    except ValidationError as error:
        raise BundleRefused(f"the statistics are refused: {explain(error)}") from None
    except Malformed as error:
        raise BundleRefused(f"the statistics are refused: {error}") from None
    if release.study != study or study_id(contract) != study:
        raise BundleRefused(f"the statistics are of study {release.study[:12]}, not of {study[:12]}")
    if not set(release.silos) <= set(contract.silo_names) or len(set(release.silos)) != len(release.silos):
        raise BundleRefused("the statistics name silos that are not the contract's, or one twice")
    lengths = {query.question.name: query.question.values for query in contract.queries}
    if {one.query: len(one.values) for one in release.totals} != lengths or len(release.totals) != len(lengths):
        raise BundleRefused("the statistics are not those that the contract asks for")
    return StatisticsBundle(study, contract, release.silos, {one.query: one.values for one in release.totals})
