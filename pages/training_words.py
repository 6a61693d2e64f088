"""What a training contract computes, and on what, in plain words."""

from protocol.clauses import Column
from protocol.precision import resolved
from protocol.training_study import TrainingContract, parameter_count

Lines = tuple[tuple[str, str], ...]


def columns_read(contract: TrainingContract) -> Lines:
    """The columns, by their part in the training."""
    return (
        ("Reads", "; ".join(column_in_words(column) for column in contract.data.features)),
        ("Predicts", contract.data.target.name),
        ("Held out", f"{contract.evaluation.test_share:.0%} of each silo's rows, for the evaluation only"),
    )


def column_in_words(column: Column) -> str:
    """A column with its range, or that it is a yes or no."""
    if column.kind == "binary":
        return f"{column.name} (yes or no)"
    return f"{column.name} ({column.minimum:g} to {column.maximum:g} {column.unit}".rstrip() + ")"


def stages_run(contract: TrainingContract) -> Lines:
    """The model, and every stage with what it takes."""
    training, model = contract.training, contract.model
    family = "logistic regression"
    if model.family == "mlp":
        family = f"neural network with hidden layers of {', '.join(str(width) for width in model.hidden)}"
    return (
        ("Model", f"{family}, {parameter_count(contract)} parameters"),
        ("Normalisation", f"one sealed, noised sum over {', '.join(contract.normalisation.columns)}"),
        (
            "Training",
            f"{training.rounds} rounds of {training.local_steps} steps at each silo; step size "
            f"{training.learning_rate:g}, gradients clipped to {training.clip:g}, noise {training.noise_multiplier:g} "
            f"times that; the last {training.averaged_rounds} rounds are averaged",
        ),
        ("Evaluation", "two noised, sealed counts a silo: how many held-out rows were right, how many wrong"),
        ("Precision", _precision(contract)),
    )


def _precision(contract: TrainingContract) -> str:
    per_slot, bits = resolved(contract.sealing, len(contract.silos))
    return (
        f"each number is rounded at random to one of {2**bits} levels over its range ({bits} bits, {per_slot} to a "
        "slot) after the noise was added; what is out of range is clipped, and how many were is part of the sum"
    )
