"""What is tested: the very objects that a round runs with, gathered so that a test may put a broken one in.

The installed silo tests ``installed()`` alone. There is no flag that weakens anything: what is planted in tests to
see a check fail is an object of theirs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from protocol.training_study import TrainingContract
from silo_node.statistics.queries import normalisation_sums
from silo_node.training.clipping import ClippedSums
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.noise import NoiseSource, SystemNoise
from silo_node.training.private import HardenedOptimizer, clipped_sums
from silo_node.training.rows import TrainingRows
from silo_node.training.sampling import sampled
from silo_node.training.state import StudyState
from silo_node.training.trainer import RoundUpdate, train_round

Floats = NDArray[np.float64]


class Steps(Protocol):
    """An optimizer of private steps."""

    def private_step(self, inputs: Tensor, target: Tensor, units: Tensor | None = None) -> None: ...


class MakesSteps(Protocol):
    """The optimizer's class."""

    def __call__(
        self,
        model: nn.Module,
        *,
        learning_rate: float,
        weight_decay: float,
        clip: float,
        noise_multiplier: float,
        normaliser: float,
        noise: NoiseSource,
        rows_per_unit: int = 1,
    ) -> Steps: ...


@dataclass(frozen=True, slots=True)
class Engine:
    """Randomness, clipping, a step, a sample, and the three mechanisms that are charged."""

    noise: NoiseSource
    clipped_sums: Callable[[nn.Module, float], ClippedSums] = clipped_sums
    optimizer: MakesSteps = HardenedOptimizer
    sampled: Callable[[TrainingRows, float, NoiseSource], tuple[Floats, Floats]] = sampled
    train_round: Callable[[TrainingContract, str, TrainingRows, StudyState, NoiseSource], RoundUpdate] = train_round
    normalisation_sums: Callable[[TrainingContract, Floats, NoiseSource], Floats] = normalisation_sums
    evaluation_counts: Callable[[TrainingContract, TrainingRows, StudyState, NoiseSource], Floats] = evaluation_counts


def installed() -> Engine:
    """What this silo computes with."""
    return Engine(SystemNoise())
