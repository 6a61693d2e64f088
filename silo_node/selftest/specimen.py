"""Made-up studies, rows and models for the checks. No dataset is read."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocol.study import parse_training
from protocol.training_study import TrainingContract, parameter_count, tensor_lengths
from silo_node.training.rows import TrainingRows
from silo_node.training.state import StudyState

Floats = NDArray[np.float64]

SILO: Final = "north"
_QUIET: Final = 10_000.0
"""Noise that costs next to nothing, for stages that a check doesn't look at."""


def study(features: int, *, steps: int, rate: float, noise: float, clip: float, quiet: bool = True) -> TrainingContract:
    """A logistic study of three silos over ``features`` columns from -1 to 1, 1000 rows each; ``SILO`` is one."""
    column = {"kind": "number", "minimum": -1.0, "maximum": 1.0, "unit": ""}
    other = _QUIET if quiet else 4.0
    names = [f"x{place}" for place in range(features)]
    training = {
        "rounds": 1,
        "local_steps": steps,
        # So small that the model stays where it began, and every step's gradient is the first one's.
        "learning_rate": 1e-9,
        "weight_decay": 0.0,
        "clip": clip,
        "noise_multiplier": noise,
        "averaged_rounds": 1,
    }
    value: dict[str, Any] = {
        "format": "consortia-study/1",
        "title": "A study of the self-test",
        "purpose": "method-research",
        "description": "Made-up rows.",
        "legal_basis": "None needed.",
        "kind": "training",
        "lead": "nobody",
        "recipients": ["nobody"],
        "expires_at": "2100-01-01T00:00:00Z",
        "data": {
            "dataset": "made-up",
            "features": [{"name": name, **column} for name in names],
            "target": {"name": "target", "kind": "binary", "minimum": 0.0, "maximum": 1.0, "unit": ""},
        },
        "privacy": {"unit": "record", "epsilon": 100.0, "delta": 1e-10, "order": 2},
        "normalisation": {"columns": names[:8], "clip": 1.5, "noise_multiplier": other},
        "model": {"family": "logistic"},
        "training": training,
        "evaluation": {"test_share": 0.2, "noise_multiplier": other},
        "silos": [
            {"silo": silo, "rows": 1000, "sampling_rate": rate, "weight": weight, "normaliser": 800 * rate}
            for silo, weight in ((SILO, 0.5), ("south", 0.3), ("west", 0.2))
        ],
        "sealing": {
            "values_per_slot": 3,
            "normalisation_exponent": 12,
            "training_exponent": 1,
            "evaluation_exponent": 12,
        },
        "schedule": {"quorum": 3, "step_timeout_s": 60},
        "release": {"approvals": 2},
    }
    return parse_training(value)


def beginning(contract: TrainingContract, deviation: float = 1.0) -> StudyState:
    """The state before training: a model of zeros. Inputs are rows over ``deviation``."""
    features, parameters = len(contract.data.features), parameter_count(contract)
    zeros = np.zeros(parameters)
    exponents = (0,) * len(tensor_lengths(contract))
    spread = np.full(features, deviation)
    return StudyState(0, exponents, np.zeros(features), spread, zeros, zeros.copy(), 0)


def summed(contract: TrainingContract, update: Floats) -> Floats:
    """The noised sum of clipped gradients (p,), over all steps, that a round's update comes from."""
    terms, training = contract.terms_of(SILO), contract.training
    return -update * (terms.normaliser / (terms.weight * training.learning_rate))


def rows_of(random: np.random.Generator, count: int, features: int) -> TrainingRows:
    """Rows from -1 to 1 and coin flips for targets."""
    values = random.uniform(-1.0, 1.0, size=(count, features))
    return TrainingRows(values, random.integers(0, 2, size=count).astype(np.float64))


def chain(widths: Sequence[int], between: type[nn.Module], random: np.random.Generator) -> nn.Sequential:
    """Linear layers in float64 with ``between`` between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [between()] if layers else []
        layers.append(nn.Linear(inputs, outputs, dtype=torch.float64))
    return _filled(nn.Sequential(*layers), random)


def convolutions(random: np.random.Generator) -> nn.Sequential:
    """A convolution with a group norm over 8 inputs, taken for 2 by 4 pixels; float64."""
    convolution = nn.Conv2d(1, 3, 2, dtype=torch.float64)
    norm, last = nn.GroupNorm(1, 3, dtype=torch.float64), nn.Linear(9, 1, dtype=torch.float64)
    return _filled(nn.Sequential(nn.Unflatten(1, (1, 2, 4)), convolution, norm, nn.ReLU(), nn.Flatten(), last), random)


def sequence(random: np.random.Generator) -> nn.Sequential:
    """A convolution along 8 inputs, for which there is no closed form; float64."""
    along, last = nn.Conv1d(1, 2, 3, dtype=torch.float64), nn.Linear(12, 1, dtype=torch.float64)
    return _filled(nn.Sequential(nn.Unflatten(1, (1, 8)), along, nn.ReLU(), nn.Flatten(), last), random)


def _filled(model: nn.Sequential, random: np.random.Generator) -> nn.Sequential:
    """Normal parameters, over the root of a layer's inputs."""
    with torch.no_grad():
        for parameter in model.parameters():
            inputs = max(1, parameter[0].numel())
            parameter.copy_(torch.from_numpy(random.normal(size=tuple(parameter.shape)) / np.sqrt(inputs)))
    return model
