"""A model as data: a JSON document of nodes, each one operator of this list, from the features to one logit.

A node reads the values of nodes before it, or ``features``: the contract's columns in order, scaled and standardised,
shape (columns,). Shapes are those of one record; no operator sees two. A node's parameters are its own, so each is
used once. What a graph computes, and whether it may, says ``protocol.graph_plan``.
"""

from typing import Annotated, Final, Literal

from pydantic import Field

from protocol.ids import Strict

FEATURES: Final = "features"
MAX_NODES: Final = 512
MAX_EXTENT: Final = 1 << 20
MAX_COLUMNS: Final = 10_000

NodeName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$")]
Extent = Annotated[int, Field(ge=1, le=MAX_EXTENT)]
Window = tuple[Annotated[int, Field(ge=1, le=512)], Annotated[int, Field(ge=1, le=512)]]
Margin = tuple[Annotated[int, Field(ge=0, le=256)], Annotated[int, Field(ge=0, le=256)]]
One = tuple[NodeName]
Some = Annotated[tuple[NodeName, ...], Field(min_length=2, max_length=64)]
Epsilon = Annotated[float, Field(ge=1e-12, le=1.0)]
Number = Annotated[float, Field(ge=-1e6, le=1e6)]
Beginning = Literal["uniform", "zero"]


class Unary(Strict):
    """A node that reads one value."""

    name: NodeName
    inputs: One


class Several(Strict):
    """A node that reads at least two values."""

    name: NodeName
    inputs: Some


class Select(Unary):
    """Of a value of shape (d,) the entries ``columns``, in this order; one may stand in several places."""

    operator: Literal["select"]
    columns: Annotated[tuple[Annotated[int, Field(ge=0, lt=MAX_COLUMNS)], ...], Field(min_length=1, max_length=10_000)]


class Linear(Unary):
    """x W^T + b over the last dimension. ``weight`` (outputs, inputs), ``bias`` (outputs,)."""

    operator: Literal["linear"]
    outputs: Extent
    bias: bool = True
    trained: bool = True
    start: Beginning = "uniform"


class Conv2d(Unary):
    """Cross-correlation over (channels, height, width), zeros around. ``weight`` (out, in / groups, height, width)."""

    operator: Literal["conv2d"]
    channels: Extent
    kernel: Window
    stride: Window = (1, 1)
    padding: Margin = (0, 0)
    dilation: Window = (1, 1)
    groups: Extent = 1
    bias: bool = True
    trained: bool = True
    start: Beginning = "uniform"


class GroupNorm(Unary):
    """Wu and He, "Group Normalization", 2018: over (channels, ...) in ``groups``, within one record."""

    operator: Literal["group_norm"]
    groups: Extent
    epsilon: Epsilon = 1e-5
    trained: bool = True


class LayerNorm(Unary):
    """Ba et al., "Layer Normalization", 2016: over the last ``dimensions`` of a value, within one record."""

    operator: Literal["layer_norm"]
    dimensions: Annotated[int, Field(ge=1, le=4)] = 1
    epsilon: Epsilon = 1e-5
    trained: bool = True


class Embedding(Unary):
    """Row of a table for each of k whole numbers: (k,) to (k, width); reads a ``select`` of columns of whole numbers.

    A column from minimum to maximum has ``rows`` = maximum - minimum + 1 values; the minimum is row 0.
    """

    operator: Literal["embedding"]
    rows: Annotated[int, Field(ge=2, le=100_000)]
    width: Annotated[int, Field(ge=1, le=8192)]
    trained: bool = True


class Relu(Unary):
    operator: Literal["relu"]


class Gelu(Unary):
    """x Phi(x), exactly (by the error function)."""

    operator: Literal["gelu"]


class Tanh(Unary):
    operator: Literal["tanh"]


class Sigmoid(Unary):
    operator: Literal["sigmoid"]


class Flatten(Unary):
    """All dimensions of a record in one."""

    operator: Literal["flatten"]


class Reshape(Unary):
    """The same values in the same order (the last dimension fastest) in another shape."""

    operator: Literal["reshape"]
    shape: Annotated[tuple[Extent, ...], Field(min_length=1, max_length=4)]


class MaxPool2d(Unary):
    operator: Literal["max_pool2d"]
    kernel: Window
    stride: Window
    padding: Margin = (0, 0)


class AvgPool2d(Unary):
    """Zeros of the padding count as values."""

    operator: Literal["avg_pool2d"]
    kernel: Window
    stride: Window
    padding: Margin = (0, 0)


class AdaptiveAvgPool2d(Unary):
    """Means of equal windows: ``size`` (height, width) must divide the value's."""

    operator: Literal["adaptive_avg_pool2d"]
    size: Window


class Add(Several):
    """The sum of values of one shape."""

    operator: Literal["add"]


class Concat(Several):
    """Values joined along dimension ``axis`` of a record; 0 is the first."""

    operator: Literal["concat"]
    axis: Annotated[int, Field(ge=0, le=3)] = 0


class Scale(Unary):
    """factor * x + offset."""

    operator: Literal["scale"]
    factor: Number
    offset: Number = 0.0


Holding = Linear | Conv2d | GroupNorm | LayerNorm | Embedding
"""Operators with parameters."""
Node = Annotated[
    Select
    | Linear
    | Conv2d
    | GroupNorm
    | LayerNorm
    | Embedding
    | Relu
    | Gelu
    | Tanh
    | Sigmoid
    | Flatten
    | Reshape
    | MaxPool2d
    | AvgPool2d
    | AdaptiveAvgPool2d
    | Add
    | Concat
    | Scale,
    Field(discriminator="operator"),
]


class Graph(Strict):
    """Nodes in an order in which each comes after those it reads; the last one's value is the model's."""

    format: Literal["consortia-graph/1"]
    nodes: Annotated[tuple[Node, ...], Field(min_length=1, max_length=MAX_NODES)]
