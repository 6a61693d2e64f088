"""Model families as data: a contract names one, nobody ships code. Parameters travel as one float64 vector.

The vector holds, layer after layer from the inputs on, the weights row by row (outputs, inputs) and then the
biases. The last layer gives one logit; a positive one predicts the target.
"""

from itertools import pairwise
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocol.training_study import TrainingContract
from silo_node.training.architecture import widths
from silo_node.training.errors import TrainingRefused
from silo_node.training.separability import trainable

Floats = NDArray[np.float64]

_ROWS_AT_ONCE: Final = 4096


def build(contract: TrainingContract, parameters: Floats) -> nn.Sequential:
    """The contract's model in float64 with these parameters (p,): linear layers with ReLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths(contract)):
        if layers:
            layers.append(nn.ReLU())
        # Without torch's own initial values: those would come from its generator.
        layers.append(nn.Linear(inputs, outputs, dtype=torch.float64, device="meta").to_empty(device="cpu"))
    model = nn.Sequential(*layers)
    load(model, parameters)
    return model


def load(model: nn.Module, parameters: Floats) -> None:
    """Put a vector (p,) of the parameters that training moves into the model. Raises TrainingRefused if it
    has another length.
    """
    held = trainable(model)
    wanted = sum(parameter.numel() for parameter in held)
    if parameters.dtype != np.float64 or parameters.shape != (wanted,):
        raise TrainingRefused(f"parameters: the model has {wanted} in float64, the vector doesn't fit")
    start = 0
    with torch.no_grad():
        for parameter in held:
            piece = parameters[start : start + parameter.numel()]
            parameter.copy_(torch.from_numpy(piece.copy()).view_as(parameter))
            start += parameter.numel()


def vector(model: nn.Module) -> Floats:
    """The parameters that training moves as one float64 vector (p,)."""
    return np.concatenate([parameter.detach().cpu().numpy().ravel() for parameter in trainable(model)])


def logits(contract: TrainingContract, parameters: Floats, inputs: Floats) -> Floats:
    """The model's logits (n,) for standardised inputs (n, d)."""
    torch.set_num_threads(1)
    model = build(contract, parameters)
    answers = np.empty(len(inputs))
    with torch.no_grad():
        for start in range(0, len(inputs), _ROWS_AT_ONCE):
            block = torch.from_numpy(inputs[start : start + _ROWS_AT_ONCE])
            answers[start : start + len(block)] = model(block).numpy()[:, 0]
    return answers
