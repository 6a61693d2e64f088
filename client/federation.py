"""The Python interface for researchers::

from client import Federation

fed = Federation.connect("https://hub.example", key="me.key")
study = fed.study("heart.yaml")
study.trial()
study.simulate(data="public.csv")
study.propose()
study.watch()
model = study.release()
"""

import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from client.bundle import Bundle, Floats
from client.catalogue import DatasetAtSilo, datasets
from client.connection import Connection, Surroundings, connect
from client.errors import UsageRefused
from client.forecast import EPSILONS, REPEATS, Asked, Forecast, forecast, trained
from client.job_interface import JobDesk
from client.model import probabilities, to_onnx
from client.registrations import by_members
from client.release import Released, release, write_release
from client.statistics.answers import Answer, answers
from client.statistics.bundle import StatisticsBundle
from client.statistics.trial import StatisticsTrial, try_statistics
from client.studies import Proposal, draft_contract, propose, watch
from client.trial import USUAL_ROWS, Trial, try_study
from protocol.draft import Draft, read_draft
from protocol.rounds import last_round
from protocol.routes import StudyStatus
from protocol.statistics_study import StatisticsContract
from protocol.study import StudyContract, study_id

RELEASE_TIMEOUT_S = 3600.0


@dataclass(frozen=True, slots=True)
class ReleasedModel:
    """A model that the silos released to you and confirmed."""

    connection: Connection
    released: Released
    bundle: Bundle

    def predict(self, features: NDArray[np.floating]) -> Floats:
        """P(target) (n,) for raw features (n, d), in the contract's order and units."""
        return probabilities(self.bundle, features)

    def onnx(self) -> bytes:
        """The model as ONNX, normalisation included."""
        return to_onnx(self.bundle)

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write safetensors, ONNX, metrics and model card; their paths."""
        return write_release(self.connection, self.released, Path(folder))


@dataclass(frozen=True, slots=True)
class ReleasedStatistics:
    """Answers that are computed from what the silos released to you and confirmed."""

    connection: Connection
    released: Released
    answers: dict[str, Answer]
    """By the query's name, in the contract's order."""

    def save(self, folder: str | os.PathLike[str]) -> tuple[Path, ...]:
        """Write the confirmed totals, the answers as JSON and CSV, and a report; their paths."""
        return write_release(self.connection, self.released, Path(folder))


@dataclass(slots=True)
class Study:
    """A study, from its contract to its result."""

    connection: Connection
    contract: StudyContract
    draft: Draft | None = None

    @property
    def id(self) -> str:
        return study_id(self.contract)

    def trial(
        self, data: Mapping[str, str | os.PathLike[str]] | None = None, rows: int = USUAL_ROWS
    ) -> Trial | StatisticsTrial:
        """All rounds on mock rows, here, at most ``rows`` a silo; nothing is sent, nobody is asked.

        ``data``: by silo, a CSV file of public data to take in place of mock rows.
        """
        published = by_members(self.connection, self.contract.data.dataset)
        files = _paths(data or {})
        if isinstance(self.contract, StatisticsContract):
            return try_statistics(self.contract, published, files, rows)
        last = last_round(self.contract) + 1
        return try_study(self.contract, published, files, rows, lambda done: _line(done.stage, done.index + 1, last))

    def simulate(
        self,
        data: str | os.PathLike[str] | Mapping[str, str | os.PathLike[str]] | None = None,
        epsilons: Sequence[float] = EPSILONS,
        repeats: int = REPEATS,
        rows: int = USUAL_ROWS,
    ) -> Forecast:
        """The accuracy to expect against epsilon: whole studies, here, ``repeats`` at each; nothing is sent or spent.

        data: a CSV file of public rows for all silos, or one for some of them; without it mock rows, which hold no
        signal. Raises ``UsageRefused`` for a study that was proposed already: it has one epsilon.
        """
        if self.draft is None:
            raise UsageRefused("a study that was proposed has its epsilon; simulate its draft (.yaml)")
        files = Path(data) if isinstance(data, str | os.PathLike) else _paths(data or {})
        published = by_members(self.connection, self.contract.data.dataset)
        asked = Asked(files, epsilons, repeats, rows)
        both = trained(self.draft, self.contract)
        return forecast(*both, published, asked, lambda done, total, what: _line(what, done, total))

    def propose(self) -> Proposal:
        """Sign and post it; proposed before, it stays as it is."""
        return propose(self.connection, self.contract)

    def watch(self) -> StudyStatus:
        """Wait for its end, with a line for each change on stderr."""
        return watch(self.connection, self.id, lambda status, left: _line(status.state, left.closed, left.total))

    def release(self, timeout_s: float = RELEASE_TIMEOUT_S) -> ReleasedModel | ReleasedStatistics:
        """Ask for the result, wait for the silos' approvals, open and check it."""
        deadline = self.connection.session.clock() + timeout_s
        released = release(self.connection, self.id, deadline, lambda _: None)
        match released.bundle:
            case Bundle():
                return ReleasedModel(self.connection, released, released.bundle)
            case StatisticsBundle():
                answered = {one.name: one for one in answers(released.bundle)}
                return ReleasedStatistics(self.connection, released, answered)


@dataclass(frozen=True, slots=True)
class Federation:
    """A consortium as one researcher sees it."""

    connection: Connection

    @classmethod
    def connect(cls, url: str, key: str | os.PathLike[str], charter: str | None = None) -> Self:
        """Pin (or check) the charter and follow the log. ``charter`` is the founding digest from the admin."""
        return cls(connect(url, Path(key), charter, Surroundings(notice=_notice)))

    def datasets(self) -> dict[str, dict[str, DatasetAtSilo]]:
        """Dataset name -> silo -> what the silo made known of it, with ``.mock`` rows to look at."""
        return datasets(self.connection)

    @property
    def jobs(self) -> JobDesk:
        """Analyses of your own: try, submit, and open what was released."""
        return JobDesk(self.connection)

    def study(self, source: str | os.PathLike[str]) -> Study:
        """A study from a draft file, or one that was proposed by its id (8 or more characters)."""
        path = Path(source)
        if path.suffix in (".yaml", ".yml"):
            return Study(self.connection, draft_contract(self.connection, path), read_draft(path))
        if isinstance(source, str):
            log = self.connection.log
            return Study(self.connection, log.contract(log.find_study(source)))
        raise UsageRefused(f"{source} is neither a draft (.yaml) nor a study's id")


def _paths(data: Mapping[str, str | os.PathLike[str]]) -> dict[str, Path]:
    return {silo: Path(path) for silo, path in data.items()}


def _line(state: str, closed: int, total: int) -> None:
    sys.stderr.write(f"\r{state}: {closed} of {total} rounds ")


def _notice(text: str) -> None:
    sys.stderr.write(text + "\n")
