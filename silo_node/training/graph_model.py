"""A contract's plan as a torch model in float64: layers of torch for what holds values, and this for what joins them.

``GraphModel``'s own operations (select, add, concat, scale, reshape, and the rows that an embedding reads) treat each
record by itself: the first dimension of every tensor is the records, and none of them touches it.
"""

from typing import Final

import torch
from torch import Tensor, nn

from protocol.graph_plan import Plan, Step
from protocol.model_graph import (
    FEATURES,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Embedding,
    Flatten,
    Gelu,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool2d,
    Relu,
    Reshape,
    Scale,
    Select,
    Sigmoid,
    Tanh,
)

_PREFIX: Final = "node_"
"""Before a node's name: a module has attributes of its own, such as ``double``."""


class GraphModel(nn.Module):
    """The nodes of a plan in their order: inputs (n, columns) to the last node's values (n, ...).

    Its parameters stand in the plan's order; those that the plan freezes want no gradient.
    """

    def __init__(self, plan: Plan) -> None:
        super().__init__()
        self._steps = plan.steps
        for step in plan.steps:
            if (layer := layer_of(step)) is not None:
                self.add_module(_PREFIX + step.node.name, layer)

    def forward(self, inputs: Tensor) -> Tensor:
        """Each record's value of the last node."""
        values = {FEATURES: inputs}
        for step in self._steps:
            values[step.node.name] = self._value(step, [values[name] for name in step.node.inputs])
        return values[self._steps[-1].node.name]

    def _value(self, step: Step, read: list[Tensor]) -> Tensor:
        match step.node:
            case Select() as node:
                return read[0][:, list(node.columns)]
            case Add():
                return torch.stack(read).sum(0)
            case Concat() as node:
                return torch.cat(read, node.axis + 1)
            case Scale() as node:
                return node.factor * read[0] + node.offset
            case Reshape() as node:
                return read[0].reshape(len(read[0]), *node.shape)
            case Embedding() as node:
                return self._looked_up(node, read[0])
            case _:
                value: Tensor = self.get_submodule(_PREFIX + step.node.name)(read[0])
                return value

    def _looked_up(self, node: Embedding, read: Tensor) -> Tensor:
        """Rows of the table for columns in [-1, 1]; NaN for a missing value, whose record then counts for nothing."""
        missing = torch.isnan(read)
        rows = torch.where(missing, -1.0, read).add(1.0).mul((node.rows - 1) / 2).round().clamp(0, node.rows - 1)
        values: Tensor = self.get_submodule(_PREFIX + node.name)(rows.long())
        return torch.where(missing[..., None], torch.nan, values)


def layer_of(step: Step) -> nn.Module | None:
    """The torch layer of a node, its values unset; None for what ``GraphModel`` does itself."""
    with torch.device("meta"):
        layer = _layer(step)
    if layer is None:
        return None
    layer = layer.to(torch.float64).to_empty(device="cpu")
    for parameter, planned in zip(layer.parameters(), step.parameters, strict=True):
        parameter.requires_grad_(planned.trained)
    return layer


def _layer(step: Step) -> nn.Module | None:
    match step.node:
        case Linear() as node:
            return nn.Linear(step.reads[0][-1], node.outputs, bias=node.bias)
        case Conv2d() as node:
            return nn.Conv2d(
                step.reads[0][0],
                node.channels,
                node.kernel,
                node.stride,
                node.padding,
                node.dilation,
                node.groups,
                node.bias,
            )
        case GroupNorm() as node:
            return nn.GroupNorm(node.groups, step.reads[0][0], node.epsilon)
        case LayerNorm() as node:
            return nn.LayerNorm(step.reads[0][-node.dimensions :], node.epsilon)
        case Embedding() as node:
            return nn.Embedding(node.rows, node.width)
        case MaxPool2d() as node:
            return nn.MaxPool2d(node.kernel, node.stride, node.padding)
        case AvgPool2d() as node:
            return nn.AvgPool2d(node.kernel, node.stride, node.padding)
        case AdaptiveAvgPool2d() as node:
            return nn.AdaptiveAvgPool2d(node.size)
        case Relu():
            return nn.ReLU()
        case Gelu():
            return nn.GELU()
        case Tanh():
            return nn.Tanh()
        case Sigmoid():
            return nn.Sigmoid()
        case Flatten():
            return nn.Flatten()
        case _:
            return None


def is_chain(plan: Plan) -> bool:
    """Whether each node is a layer of torch that reads the one before: a model that needs no ``GraphModel``."""
    before = FEATURES
    for step in plan.steps:
        if step.node.inputs != (before,) or isinstance(step.node, Select | Scale | Reshape | Embedding):
            return False
        before = step.node.name
    return True
