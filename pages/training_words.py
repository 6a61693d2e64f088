"""What a training contract computes, and on what, in plain words."""

from pages.model import columns_in_words, model_in_words, names_in_words
from protocol.clauses import Clauses
from protocol.evaluation import CountedEvaluation
from protocol.precision import resolved
from protocol.training_study import TrainingContract

Lines = tuple[tuple[str, str], ...]


def columns_read(contract: TrainingContract) -> Lines:
    """The columns, by their part in the training."""
    return (
        ("Reads", columns_in_words(contract.data.features)),
        ("Predicts", contract.data.target.name),
        ("Held out", f"{contract.evaluation.test_share:.0%} of each silo's rows, for the evaluation only"),
    )


def stages_run(contract: TrainingContract) -> Lines:
    """The model, and every stage with what it takes."""
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
        ("Evaluation", _evaluation(contract)),
        ("Precision", precision_in_words(contract)),
    )


def _evaluation(contract: TrainingContract) -> str:
    evaluation = contract.evaluation
    if isinstance(evaluation, CountedEvaluation):
        return "two noised, sealed counts a silo: how many held-out rows were right, how many wrong"
    by = f", told apart by {', '.join(evaluation.groups)}" if evaluation.groups else ""
    return (
        f"{evaluation.values} noised, sealed counts a silo: how many held-out rows, with and without the target{by}, "
        f"got a score in each of {len(evaluation.edges) + 1} ranges; each row is in one count"
    )


def precision_in_words(contract: Clauses) -> str:
    """How finely numbers are encoded before they are sealed."""
    per_slot, bits = resolved(contract.sealing, len(contract.silos))
    return (
        f"each number is rounded at random to one of {2**bits} levels over its range ({bits} bits, {per_slot} to a "
        "slot) after the noise was added; what is out of range is clipped, and how many were is part of the sum"
    )
