"""Which models may train: those in which no record can move another's gradient.

Layers are on a list, with the settings that would mix records refused by name. A container is on the list if its own
operations treat each record by itself.
"""

from typing import Final

import torch
from torch import nn

from silo_node.training.errors import TrainingRefused
from silo_node.training.graph_model import GraphModel

CONTAINERS: tuple[type[nn.Module], ...] = (nn.Sequential, GraphModel)
"""Modules that only pass values between their layers, each record by itself, and hold no parameters."""

LAYERS: Final[tuple[type[nn.Module], ...]] = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.GroupNorm,
    nn.LayerNorm,
    nn.Embedding,
    nn.ReLU,
    nn.Tanh,
    nn.Sigmoid,
    nn.GELU,
    nn.Identity,
    nn.Flatten,
    nn.Unflatten,
    nn.MaxPool2d,
    nn.AvgPool2d,
    nn.AdaptiveAvgPool2d,
)


def trainable(model: nn.Module) -> list[nn.Parameter]:
    """The parameters that training moves, in the model's order: what is clipped, noised and sent. Others are frozen."""
    return [parameter for parameter in model.parameters() if parameter.requires_grad]


def require_separable(model: nn.Module) -> None:
    """Refuse a model in which one record could move another's gradient, or a trainable parameter is used twice."""
    for name, layer in model.named_modules():
        _require_listed(f"layer {name}" if name else "the model", layer)
    _require_used_once(model)
    if not trainable(model):
        raise TrainingRefused("model: all its parameters are frozen, nothing would be trained")
    if any(parameter.dtype != torch.float64 for parameter in model.parameters()):
        raise TrainingRefused("model: parameters must be float64, for which the sensitivity bound holds")


def _require_listed(name: str, layer: nn.Module) -> None:
    kind = type(layer).__name__
    if isinstance(layer, nn.modules.batchnorm._NormBase):
        raise TrainingRefused(
            f"{name} is a {kind}: it mixes the records of a batch, and frozen its running statistics leak; "
            "use GroupNorm"
        )
    if type(layer) not in LAYERS + CONTAINERS:
        raise TrainingRefused(f"{name}: {kind} is not on the list of layers")
    if fault := _mixing_setting(layer):
        raise TrainingRefused(f"{name}: {kind} with {fault}")


def _mixing_setting(layer: nn.Module) -> str | None:
    """The setting with which a listed layer would mix records, or hide what it computed; None for a sound one."""
    if isinstance(layer, nn.Embedding) and layer.max_norm is not None:
        return "max_norm changes its weights by which rows are in the batch"
    if isinstance(layer, nn.Embedding) and (layer.scale_grad_by_freq or layer.sparse):
        return "scale_grad_by_freq or sparse: its gradients depend on the whole batch, or are no plain tensors"
    if isinstance(layer, nn.Embedding) and layer.padding_idx is not None:
        return "padding_idx: the engines would differ in whether they train that row"
    if isinstance(layer, nn.Flatten) and layer.start_dim < 1:
        return f"start_dim {layer.start_dim} may join records; it must be 1 or more"
    if isinstance(layer, nn.Unflatten) and not (isinstance(layer.dim, int) and layer.dim >= 1):
        return f"dim {layer.dim} may split the batch; it must be 1 or more"
    if getattr(layer, "inplace", False):
        return "inplace=True overwrites what the gradients are computed from"
    return None


def _require_used_once(model: nn.Module) -> None:
    """No trainable parameter stands in two places, and no buffer is there that could remember a batch."""
    held = [id(one) for _, one in model.named_parameters(remove_duplicate=False) if one.requires_grad]
    modules = [
        id(layer)
        for _, layer in model.named_modules(remove_duplicate=False)
        if any(one.requires_grad for one in layer.parameters())
    ]
    if len(set(held)) != len(held) or len(set(modules)) != len(modules) or any(True for _ in model.buffers()):
        raise TrainingRefused("model: each trainable parameter must be used exactly once, and there may be no buffers")
