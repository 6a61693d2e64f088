"""What each task comes to in the process that reads rows: open the dataset, hand its rows to training or statistics."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from protocol.statistics_study import StatisticsContract
from protocol.training_study import TrainingContract
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.rows import Rows
from silo_node.runner.messages import Frame
from silo_node.runner.tasks import (
    CheckTask,
    ExtractTask,
    NormaliseTask,
    StatisticsTask,
    Task,
    TraceTask,
    TrainTask,
    checked_frame,
    extract_frame,
    outcome_frame,
    traced_frame,
)
from silo_node.statistics.queries import streamed_sums
from silo_node.training.noise import NoiseSource
from silo_node.training.rows import TrainingRows, scaled
from silo_node.training.state import StudyState


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class _Opened:
    """Rows kept from one round to the next, with what must be unchanged for them to still be the right ones."""

    contract: TrainingContract
    commitment: str
    file: tuple[int, int, int, int]
    opt_outs: str
    rows: Rows


class Workshop:
    """Performs tasks on the datasets of ``catalogue``, with noise from ``noise``."""

    def __init__(self, catalogue: Catalogue, noise: NoiseSource) -> None:
        self._catalogue = catalogue
        self._noise = noise
        self._opened: _Opened | None = None

    def perform(self, task: Task) -> Frame:
        """Raises whatever the dataset, training or statistics raise."""
        if isinstance(task, CheckTask):
            return checked_frame(self._catalogue.check(task.registration))
        if isinstance(task, ExtractTask):
            return extract_frame(*self._catalogue.columns(task.dataset, task.columns))
        if isinstance(task, TraceTask):
            found = (self._catalogue.find(task.dataset, task.person, share) for share in task.test_shares)
            return traced_frame(tuple(found))
        if isinstance(task, StatisticsTask):
            return self._count(task.contract)
        contract = task.contract
        # Before the rows: a state that is none must not cost their reading.
        if isinstance(task, NormaliseTask):
            rows = self._rows(contract)
            blocks = (scaled(contract, features) for features, _ in _training(rows).blocks())
            return outcome_frame(streamed_sums(contract, blocks, self._noise), 1, rows.left_out)
        state = StudyState.from_bytes(task.state.whole())
        # Imported here: torch takes seconds, and reading a source through does without it.
        if isinstance(task, TrainTask):
            from silo_node.training.trainer import train_round

            rows = self._rows(contract)
            update = train_round(contract, task.silo, _training(rows), state, self._noise)
            return outcome_frame(update.vector, update.steps_run, rows.left_out, str(update.engine))
        from silo_node.training.evaluation import evaluation_counts

        rows = self._rows(contract)
        return outcome_frame(evaluation_counts(contract, _held_out(rows), state, self._noise), 1, rows.left_out)

    def _count(self, contract: StatisticsContract) -> Frame:
        from silo_node.statistics.mechanism import DiscreteGaussian
        from silo_node.statistics.totals import noised_totals

        read = self._catalogue.measure(contract.data.dataset, contract.data.reads, contract.privacy.unit)
        return outcome_frame(noised_totals(contract, read.values, DiscreteGaussian()), 1, read.left_out)

    def _rows(self, contract: TrainingContract) -> Rows:
        """The contract's rows; opened anew unless nothing has changed since the last task:
        contract, registration, file and opt-outs."""
        dataset = self._catalogue.get(contract.data.dataset)
        file, opt_outs = _stamp(Path(dataset.source)), self._catalogue.opted_out(dataset).digest()
        kept = self._opened
        now = (contract, dataset.commitment, file, opt_outs)
        if kept and (kept.contract, kept.commitment, kept.file, kept.opt_outs) == now:
            return kept.rows
        self._opened = kept = None  # The old rows go before the new ones come: both at once may not fit.
        share, unit = contract.evaluation.test_share, contract.privacy.unit
        rows = self._catalogue.open(dataset.name, contract.data, share, unit)
        self._opened = _Opened(contract, dataset.commitment, file, opt_outs, rows)
        return rows


def _training(rows: Rows) -> TrainingRows:
    return _selected(rows, rows.is_training)


def _held_out(rows: Rows) -> TrainingRows:
    return _selected(rows, ~rows.is_training)


def _selected(rows: Rows, where: NDArray[np.bool_]) -> TrainingRows:
    return TrainingRows(rows.features, rows.target, np.flatnonzero(where))


def _stamp(source: Path) -> tuple[int, int, int, int]:
    """What changes when a file is written or replaced; zeros where there is none, which opening it will report."""
    try:
        found = source.stat()
    except OSError:
        return (0, 0, 0, 0)
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
