"""A study contract in plain words: the same sentences in the terminal, on the consoles' pages and in reports."""

from dataclasses import dataclass

from pages.model import columns_in_words, model_in_words, names_in_words
from protocol import accounting
from protocol.ids import StudyId
from protocol.precision import resolved
from protocol.study import StudyContract, study_cost

UNITS = {"record": "one record", "subject": "one person, with all their records"}


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and its lines, each a label and a sentence."""

    title: str
    lines: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class SiloLine:
    """One silo's row of the contract's table."""

    silo: str
    rows: int
    weight: float
    sampling_rate: float
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
            one.weight,
            one.sampling_rate,
            accounting.epsilon_at(study_cost(contract, one.silo, privacy.order), privacy.delta, privacy.order),
        )
        for one in contract.silos
    )


def _purpose(contract: StudyContract, study: StudyId) -> tuple[tuple[str, str], ...]:
    return (
        ("Title", contract.title),
        ("Purpose", f"{contract.purpose.replace('-', ' ')}: {contract.description}"),
        ("Legal basis", contract.legal_basis),
        ("Lead", contract.lead),
        ("Ends", contract.expires_at),
        ("Study id", study),
    )


def _data(contract: StudyContract) -> tuple[tuple[str, str], ...]:
    return (
        ("Dataset", f"{contract.data.dataset}, at {', '.join(contract.silo_names)}; rows never leave a silo"),
        ("Reads", columns_in_words(contract.data.features)),
        ("Predicts", contract.data.target.name),
        ("Held out", f"{contract.evaluation.test_share:.0%} of each silo's rows, for the evaluation only"),
    )


def _computation(contract: StudyContract) -> tuple[tuple[str, str], ...]:
    training = contract.training
    return (
        ("Model", model_in_words(contract)),
        ("Normalisation", f"one sealed, noised sum over {names_in_words(contract.normalisation.columns)}"),
        (
            "Training",
            f"{training.rounds} rounds of {training.local_steps} steps at each silo; step size "
            f"{training.learning_rate:g}, gradients clipped to {training.clip:g}, noise {training.noise_multiplier:g} "
            f"times that; the last {training.averaged_rounds} rounds are averaged",
        ),
        ("Evaluation", "two noised, sealed counts a silo: how many held-out rows were right, how many wrong"),
        ("Precision", _precision(contract)),
        (
            "Sealed sums",
            f"only sums over at least {contract.schedule.quorum} silos are ever opened, and by the silos alone",
        ),
    )


def _precision(contract: StudyContract) -> str:
    per_slot, bits = resolved(contract.sealing, len(contract.silos))
    return (
        f"each number is rounded at random to one of {2**bits} levels over its range ({bits} bits, {per_slot} to a "
        "slot) after the noise was added; what is out of range is clipped, and how many were is part of the sum"
    )


def _privacy(contract: StudyContract) -> tuple[tuple[str, str], ...]:
    privacy = contract.privacy
    return (
        ("Protects", UNITS[privacy.unit]),
        ("At most", f"epsilon {privacy.epsilon:g} at delta {privacy.delta:g}, at each silo, the whole study together"),
        ("Counted", f"as Renyi divergence at order {privacy.order}; a silo charges its budget before it reads a row"),
    )


def _release(contract: StudyContract) -> tuple[tuple[str, str], ...]:
    return (
        ("Recipients", ", ".join(contract.recipients)),
        ("Release", f"when {contract.release.approvals} silos approve and confirm the same bytes"),
    )
