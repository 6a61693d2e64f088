"""The released model as bytes: safetensors with the study's record as metadata; the same bytes at every silo.

Tensors are float64: ``mean`` and ``std`` (k,) of the contract's normalisation columns, where a column's
[minimum, maximum] is mapped to [-1, 1]; then each trained tensor of the model, by its name in the contract's plan.
"""

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save

from protocol import canonical
from protocol.evaluation import ScoredEvaluation, right_and_wrong
from protocol.study import contract_value
from protocol.training_study import TrainingContract
from silo_node.agent.progress import Progress
from silo_node.training.estimate import estimate_accuracy

Floats = NDArray[np.float64]


def release_bundle(contract: TrainingContract, study: str, progress: Progress) -> bytes:
    """The bundle of a study that went through its last round. Holds nothing but what was released with noise."""
    estimate = estimate_accuracy(contract, progress.counts, progress.evaluated)
    right, wrong = right_and_wrong(contract.evaluation, progress.counts)
    scored = isinstance(contract.evaluation, ScoredEvaluation)
    record = {
        "format": "consortia-release/1",
        "study": study,
        "contract": contract_value(contract),
        "evaluation": {
            "right": right,
            "wrong": wrong,
            "accuracy": estimate.accuracy,
            "standard_error": estimate.standard_error,
            "test_silos": progress.evaluated,
            **({"counts": progress.counts.tolist()} if scored else {}),
        },
        "rounds": progress.state.rounds,
    }
    return save(_tensors(contract, progress), metadata={"consortia": canonical.encode(record).decode()})


def _tensors(contract: TrainingContract, progress: Progress) -> dict[str, Floats]:
    names = [column.name for column in contract.data.features]
    places = [names.index(name) for name in contract.normalisation.columns]
    tensors = {"mean": progress.state.mean[places], "std": progress.state.deviation[places]}
    parameters, at = progress.state.released_parameters, 0
    for one in contract.plan.trained:
        tensors[one.name] = np.ascontiguousarray(parameters[at : at + one.length].reshape(one.shape))
        at += one.length
    return tensors
