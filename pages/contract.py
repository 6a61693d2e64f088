"""A study contract in plain words: the same sentences in the terminal, on the consoles' pages and in reports."""

from dataclasses import dataclass

from pages import statistics_words, training_words
from pages.training_words import Lines
from protocol import accounting
from protocol.ids import StudyId
from protocol.statistics_study import StatisticsContract
from protocol.study import StudyContract, study_cost
from protocol.training_study import TrainingContract, TrainingTerms

UNITS = {"record": "one record", "subject": "one person, with all their records"}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its lines, each a label and a sentence."""

    title: str
    lines: Lines


@dataclass(frozen=True, slots=True)
class SiloLine:
    """One silo's row of the contract's table. ``weight`` and ``sampling_rate`` are None where nothing is trained."""

    silo: str
    rows: int
    weight: float | None
    sampling_rate: float | None
    epsilon: float


def in_words(contract: StudyContract, study: StudyId) -> tuple[Section, ...]:
    """What would be computed, by whom, for what, on which columns, at what cost, and who gets the result."""
    return (
        Section("What and why", _purpose(contract, study)),
        Section("Which data", _data(contract)),
        Section("What is computed", _computation(contract)),
        Section("What it may cost a person", _privacy(contract)),
        Section("Who gets the result", _release(contract)),
    )


def silo_lines(contract: StudyContract) -> tuple[SiloLine, ...]:
    """Every silo's constants, with the epsilon that the study costs there at the contract's delta and order."""
    privacy = contract.privacy
    return tuple(
        SiloLine(
            one.silo,
            one.rows,
            one.weight if isinstance(one, TrainingTerms) else None,
            one.sampling_rate if isinstance(one, TrainingTerms) else None,
            accounting.epsilon_at(study_cost(contract, one.silo, privacy.order), privacy.delta, privacy.order),
        )
        for one in contract.silos
    )


def _purpose(contract: StudyContract, study: StudyId) -> Lines:
    return (
        ("Title", contract.title),
        ("Purpose", f"{contract.purpose.replace('-', ' ')}: {contract.description}"),
        ("Legal basis", contract.legal_basis),
        ("Lead", contract.lead),
        ("Ends", contract.expires_at),
        ("Study id", study),
    )


def _data(contract: StudyContract) -> Lines:
    where = ("Dataset", f"{contract.data.dataset}, at {', '.join(contract.silo_names)}; rows never leave a silo")
    match contract:
        case TrainingContract():
            return (where, *training_words.columns_read(contract))
        case StatisticsContract():
            return (where, *statistics_words.columns_counted(contract))


def _computation(contract: StudyContract) -> Lines:
    quorum = contract.schedule.quorum
    sealed = ("Sealed sums", f"only sums over at least {quorum} silos are ever opened, and by the silos alone")
    match contract:
        case TrainingContract():
            return (*training_words.stages_run(contract), sealed)
        case StatisticsContract():
            return (*statistics_words.questions_asked(contract), sealed)


def _privacy(contract: StudyContract) -> Lines:
    privacy = contract.privacy
    return (
        ("Protects", UNITS[privacy.unit]),
        ("At most", f"epsilon {privacy.epsilon:g} at delta {privacy.delta:g}, at each silo, the whole study together"),
        ("Counted", f"as Renyi divergence at order {privacy.order}; a silo charges its budget before it reads a row"),
    )


def _release(contract: StudyContract) -> Lines:
    return (
        ("Recipients", ", ".join(contract.recipients)),
        ("Release", f"when {contract.release.approvals} silos approve and confirm the same bytes"),
    )
