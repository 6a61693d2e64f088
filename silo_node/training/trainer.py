"""One training round at one silo: local DP-SGD from the shared state to a weighted update."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from protocol.training_study import TrainingContract
from silo_node.training.clipping import MAX_ROWS, require_covered
from silo_node.training.engine_choice import EngineChoice
from silo_node.training.errors import TrainingRefused
from silo_node.training.models import build, vector
from silo_node.training.noise import NoiseSource
from silo_node.training.private import HardenedOptimizer
from silo_node.training.rows import TrainingRows, standardised
from silo_node.training.sampling import sampled
from silo_node.training.state import StudyState

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RoundUpdate:
    """What leaves a training round, differentially private: safe to seal.

    vector: float64 (p,), weight * (local - global). steps_run: what the ledger settles; it never depends on rows.
    engine: which way clipped sums were computed, and why; it follows from the contract and the processor.
    """

    vector: Floats
    steps_run: int
    engine: EngineChoice


def train_round(
    contract: TrainingContract, silo: str, rows: TrainingRows, state: StudyState, noise: NoiseSource
) -> RoundUpdate:
    """Run the contract's local steps on the silo's training rows, from ``state``.

    The noise source is all that varies: with the same source the same bytes come out on the same machine.
    Raises TrainingRefused before a row is read for a plan the sensitivity doesn't cover, and afterwards only for
    what shows in the noised parameters alone: a model that diverged.
    """
    torch.set_num_threads(1)  # one thread beats two on models of this size, and sums stay reproducible
    terms, training = contract.terms_of(silo), contract.training
    require_covered(terms.rows, terms.sampling_rate)
    if rows.count > MAX_ROWS:
        raise TrainingRefused(f"rows: more than the {MAX_ROWS} that the charged sensitivity covers")
    model = build(contract, state.parameters)
    optimizer = HardenedOptimizer(
        model,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        clip=training.clip,
        noise_multiplier=training.noise_multiplier,
        normaliser=terms.normaliser,
        noise=noise,
    )
    for _ in range(training.local_steps):
        features, target = sampled(rows, terms.sampling_rate, noise)
        inputs = standardised(contract, features, state.mean, state.deviation)
        optimizer.private_step(torch.from_numpy(inputs), torch.from_numpy(target))
    update = vector(model)
    update -= state.parameters
    update *= terms.weight
    if not bool(np.isfinite(update).all()):
        raise TrainingRefused("model: diverged in local training; lower learning_rate or weight_decay")
    return RoundUpdate(update, training.local_steps, optimizer.choice)
