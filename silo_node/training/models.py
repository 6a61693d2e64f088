"""Models as data: a contract holds one, nobody ships code. Parameters travel as one float64 vector.

The vector holds the trained tensors in the plan's order, row by row. The model gives one logit; a positive one
predicts the target.
"""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from protocol.model import weights_of
from protocol.training_study import TrainingContract
from silo_node.training.errors import TrainingRefused
from silo_node.training.graph_model import GraphModel, is_chain, layer_of
from silo_node.training.separability import trainable

Floats = NDArray[np.float64]

_ROWS_AT_ONCE: Final = 4096
_VALUES_AT_ONCE: Final = 1 << 23


def build(contract: TrainingContract, parameters: Floats) -> nn.Module:
    """The contract's model in float64 with these trained parameters (p,); a chain of layers where it is one."""
    plan = contract.plan
    if is_chain(plan):
        model: nn.Module = nn.Sequential(*(layer for step in plan.steps if (layer := layer_of(step)) is not None))
    else:
        model = GraphModel(plan)
    _freeze(model, contract)
    load(model, parameters)
    return model


def _freeze(model: nn.Module, contract: TrainingContract) -> None:
    """Puts the contract's own values into what training doesn't move."""
    weights = weights_of(contract.model)
    if weights is None:
        return
    with torch.no_grad():
        for parameter, planned in zip(model.parameters(), contract.plan.parameters, strict=True):
            if not planned.trained:
                parameter.copy_(torch.from_numpy(weights.tensors[planned.name]))


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
    rows = max(1, min(_ROWS_AT_ONCE, _VALUES_AT_ONCE // contract.plan.values))
    with torch.no_grad():
        for start in range(0, len(inputs), rows):
            block = torch.from_numpy(inputs[start : start + rows])
            answers[start : start + len(block)] = model(block).numpy()[:, 0]
    return answers
