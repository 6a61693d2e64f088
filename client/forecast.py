"""What a study's accuracy would be at several epsilons, simulated in full and often, before anyone is asked."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Final

from client.errors import TrialFailed, UsageRefused
from client.simulated_rows import SimulatedRows, rows_by_silo, rows_dealt_out, with_rows
from client.simulating import simulated
from protocol import accounting
from protocol.draft import Draft
from protocol.errors import DraftRefused
from protocol.membership_statements import DatasetRegistered
from protocol.rounds import last_round
from protocol.simulation import ForecastJob, ForecastPoint, RoundSimulated, RunForecast
from protocol.study import StudyContract, study_cost
from protocol.training_calibration import training_contract
from protocol.training_draft import TrainingDraft
from protocol.training_study import TrainingContract

EPSILONS: Final = (0.5, 1.0, 2.0, 5.0, 10.0)
REPEATS: Final = 5
MOST_EPSILONS: Final = 19

Progress = Callable[[int, int, str], None]
"""Called with the rounds done, all rounds, and which run is under way."""


@dataclass(frozen=True, slots=True)
class Expected:
    """The study at one epsilon; None for no noise.

    contract: None where no noise that is allowed makes the study so private; ``refusal`` says why then.
    beyond: silos whose whole cap couldn't pay for it. charged: its epsilon by the ledgers' arithmetic, at the silo
    where it is most.
    """

    epsilon: float | None
    contract: TrainingContract | None
    refusal: str
    beyond: tuple[str, ...]
    charged: float | None
    runs: tuple[RunForecast, ...]

    @property
    def accuracies(self) -> list[float]:
        """Exact, by run."""
        return [run.exact for run in self.runs if run.exact is not None]

    @property
    def accuracy(self) -> float | None:
        """The mean over the runs."""
        return fmean(self.accuracies) if self.accuracies else None

    @property
    def spread(self) -> float | None:
        """The standard deviation of one study: its noise and its split. None from fewer than two runs."""
        return stdev(self.accuracies) if len(self.accuracies) > 1 else None

    @property
    def error(self) -> float | None:
        """The standard error of the mean."""
        return None if self.spread is None else self.spread / math.sqrt(len(self.accuracies))

    @property
    def told_error(self) -> float | None:
        """The mean standard error of the accuracy that a release tells; None if noise drowned one, or there is none."""
        if self.epsilon is None:
            return None  # a release counts with the noise that the contract names
        errors = [run.told_error for run in self.runs]
        return fmean(one for one in errors if one is not None) if errors and None not in errors else None


@dataclass(frozen=True, slots=True)
class Forecast:
    """``published``: rows by silo in the study itself; ``rows``: what was simulated. ``whole``: it was not stopped."""

    contract: TrainingContract
    published: dict[str, int]
    rows: SimulatedRows
    points: tuple[Expected, ...]
    repeats: int
    whole: bool

    @property
    def commonest(self) -> float | None:
        """What always giving the commoner answer gets, a mean over all runs."""
        found = [run.commonest for point in self.points for run in point.runs if run.commonest is not None]
        return fmean(found) if found else None


@dataclass(frozen=True, slots=True)
class Asked:
    """``data``: a file of public rows for all silos, or a file for some; none: mock rows. No noise comes at the end."""

    data: Path | Mapping[str, Path]
    epsilons: Sequence[float] = EPSILONS
    repeats: int = REPEATS
    most_rows: int = 20_000


def trained(draft: Draft, contract: StudyContract) -> tuple[TrainingDraft, TrainingContract]:
    """Both as those of a study that trains. Raises ``UsageRefused`` for another: it has no accuracy to expect."""
    if isinstance(draft, TrainingDraft) and isinstance(contract, TrainingContract):
        return draft, contract
    raise UsageRefused("a statistics study has no accuracy to expect; see its intervals with: consortia study try")


def forecast(
    draft: TrainingDraft,
    contract: TrainingContract,
    registered: Mapping[str, DatasetRegistered],
    asked: Asked,
    progress: Progress,
) -> Forecast:
    """Every run of every epsilon. Interrupted, what was done by then; ``KeyboardInterrupt`` if that is nothing.

    contract: what the draft makes with what was registered. Raises ``UsageRefused``, ``DraftRefused``, ``TrialFailed``.
    """
    _check(asked)
    if isinstance(asked.data, Path):
        rows = rows_dealt_out(contract, asked.data, asked.most_rows)
    else:
        rows = rows_by_silo(contract, registered, asked.data, asked.most_rows)
    points = [*(_point(draft, registered, one) for one in sorted(set(asked.epsilons))), _noiseless(contract)]
    runnable = [point for point in points if point.contract is not None]
    job = ForecastJob(
        format="consortia-forecast/1",
        points=tuple(
            ForecastPoint(epsilon=point.epsilon, contract=with_rows(point.contract, rows.counts))
            for point in runnable
            if point.contract is not None
        ),
        repeats=asked.repeats,
        silos=rows.silos,
    )
    runs = _Runs(runnable, last_round(contract) + 1, asked.repeats, progress)
    whole = runs.follow(job)
    published = {terms.silo: terms.rows for terms in contract.silos}
    return Forecast(contract, published, rows, tuple(map(runs.done, points)), asked.repeats, whole)


class _Runs:
    """The runs as they come in, by point."""

    def __init__(self, points: list[Expected], rounds: int, repeats: int, progress: Progress) -> None:
        self._points, self._rounds = points, rounds
        self._total, self._progress = rounds * len(points) * repeats, progress
        self._runs: dict[float | None, list[RunForecast]] = {point.epsilon: [] for point in points}
        self._charged: dict[float | None, float] = {}
        self._seen = 0

    def follow(self, job: ForecastJob) -> bool:
        """Whether every run came to its end."""
        wanted = len(job.points) * job.repeats
        try:
            with closing(simulated(job)) as reports:
                for report in reports:
                    if isinstance(report, RoundSimulated):
                        self._round(report)
                    elif isinstance(report, RunForecast) and report.point < len(self._points):
                        self._runs[self._points[report.point].epsilon].append(report)
                    if sum(map(len, self._runs.values())) == wanted:
                        return True
        except KeyboardInterrupt:
            if not any(self._runs.values()):
                raise
            return False
        raise TrialFailed("the forecast ended before its last run")

    def _round(self, report: RoundSimulated) -> None:
        point = self._points[self._seen // self._rounds % len(self._points)]
        if report.index == report.last and point.epsilon is not None:
            self._charged[point.epsilon] = report.epsilon
        self._seen += 1
        at = f"repeat {self._seen // (self._rounds * len(self._points)) + 1}"
        self._progress(self._seen, self._total, f"{in_words(point.epsilon)}, {at}")

    def done(self, point: Expected) -> Expected:
        """The point with what was found of it."""
        runs, charged = tuple(self._runs.get(point.epsilon, ())), self._charged.get(point.epsilon)
        return Expected(point.epsilon, point.contract, point.refusal, point.beyond, charged, runs)


def in_words(epsilon: float | None) -> str:
    return "no noise" if epsilon is None else f"epsilon {epsilon:g}"


def _check(asked: Asked) -> None:
    if not asked.epsilons or len(set(asked.epsilons)) > MOST_EPSILONS:
        raise UsageRefused(f"--epsilons: give 1 to {MOST_EPSILONS} of them, e.g. 0.5,1,2,5,10")
    wrong = [one for one in asked.epsilons if not 0 < one <= 100]
    if wrong:
        raise UsageRefused(f"--epsilons: {wrong[0]:g} is none; each must be above 0 and at most 100")


def _point(draft: TrainingDraft, registered: Mapping[str, DatasetRegistered], epsilon: float) -> Expected:
    """The draft's study at another epsilon, its noise worked out as for the draft's own."""
    privacy = draft.privacy.model_copy(update={"epsilon": epsilon})
    rows = {one.silo: registered[one.silo].rows for one in draft.silos}
    try:
        contract = training_contract(draft.model_copy(update={"privacy": privacy}), rows)
    except DraftRefused as refused:
        return Expected(epsilon, None, str(refused), (), None, ())
    beyond = tuple(silo for silo in contract.silo_names if not _payable(contract, silo, registered[silo]))
    return Expected(epsilon, contract, "", beyond, None, ())


def _payable(contract: TrainingContract, silo: str, domain: DatasetRegistered) -> bool:
    cap = accounting.budget(domain.epsilon, domain.delta, domain.order)
    return study_cost(contract, silo, domain.order) <= cap


def _noiseless(contract: TrainingContract) -> Expected:
    return Expected(None, contract, "", (), None, ())
