"""What a graph computes, found before anything is built: every shape, parameter, activation and multiplication.

All of it follows from the document and the number of columns; a graph beyond a bound is refused with the node, the
figure and the bound. Raises ``ValueError`` as pydantic's validators do, so a contract names the field.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from protocol.graph_shapes import Shape, output_shape, shown
from protocol.model_graph import FEATURES, Conv2d, Embedding, Graph, GroupNorm, LayerNorm, Linear, Node

MAX_PARAMETERS: Final = 100_000_000
MAX_TRAINED_TENSORS: Final = 400
"""What a study state's head has room for."""
MAX_VALUES: Final = 1 << 22
"""Values that all nodes give for one record: 32 MiB of float64."""
MAX_MULTIPLICATIONS: Final = 2_000_000_000
"""For one record, in linear layers and convolutions."""

Start = Literal["uniform", "zero", "one"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor of the model. ``name`` is its node's name, a dot, and ``weight`` or ``bias``.

    start: where training starts. "uniform" means in [-b, b) with b = sqrt(6 / fan_in).
    """

    name: str
    shape: Shape
    trained: bool
    start: Start
    fan_in: int

    @property
    def length(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True, slots=True)
class Step:
    """A node with the shapes of what it reads and gives, for one record."""

    node: Node
    reads: tuple[Shape, ...]
    gives: Shape
    parameters: tuple[Parameter, ...]


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph whose shapes are known. columns: values of ``features``.

    values: what all nodes give together for one record; multiplications: what that takes.
    """

    columns: int
    steps: tuple[Step, ...]
    values: int
    multiplications: int

    @property
    def parameters(self) -> tuple[Parameter, ...]:
        return tuple(one for step in self.steps for one in step.parameters)

    @property
    def trained(self) -> tuple[Parameter, ...]:
        """In the order in which they stand in a parameter vector."""
        return tuple(one for one in self.parameters if one.trained)

    @property
    def frozen(self) -> tuple[Parameter, ...]:
        return tuple(one for one in self.parameters if not one.trained)


def plan_graph(graph: Graph, columns: int) -> Plan:
    """The plan of a graph that ends in one logit. Raises ``ValueError``."""
    plan = plan_values(graph, columns)
    last = plan.steps[-1]
    if last.gives != (1,):
        raise ValueError(f"{_called(last.node)}: the last node must give one logit, shape (1), not {shown(last.gives)}")
    if not plan.trained:
        raise ValueError("all parameters are frozen: nothing would be trained")
    return plan


def plan_values(graph: Graph, columns: int) -> Plan:
    """The plan of a graph that ends in a value of any shape. Raises ``ValueError``."""
    shapes: dict[str, Shape] = {FEATURES: (columns,)}
    steps: list[Step] = []
    values = multiplications = parameters = 0
    later = {node.name for node in graph.nodes}
    for node in graph.nodes:
        reads = _read(node, shapes, later)
        try:
            gives = output_shape(node, reads)
        except ValueError as error:
            raise ValueError(f"{_called(node)}: {error}") from None
        step = Step(node, reads, gives, _parameters(node, reads))
        values += math.prod(gives)
        parameters += sum(one.length for one in step.parameters)
        multiplications += _multiplications(step)
        _within(node, "values for one record up to here", values, MAX_VALUES)
        _within(node, "parameters up to here", parameters, MAX_PARAMETERS)
        _within(node, "multiplications for one record up to here", multiplications, MAX_MULTIPLICATIONS)
        shapes[node.name] = gives
        steps.append(step)
    _require_used(graph)
    plan = Plan(columns, tuple(steps), values, multiplications)
    if len(plan.trained) > MAX_TRAINED_TENSORS:
        raise ValueError(f"{len(plan.trained)} trained tensors, at most {MAX_TRAINED_TENSORS} are allowed; freeze some")
    return plan


def _read(node: Node, shapes: dict[str, Shape], later: set[str]) -> tuple[Shape, ...]:
    if node.name in shapes:
        raise ValueError(f"{_called(node)}: another node, or the features, has this name")
    for name in node.inputs:
        if name not in shapes and name in later:
            raise ValueError(f"{_called(node)}: reads {name}, which doesn't stand before it; a graph has no cycles")
        if name not in shapes:
            raise ValueError(f"{_called(node)}: reads {name}, which is no node")
    return tuple(shapes[name] for name in node.inputs)


def _require_used(graph: Graph) -> None:
    """A node that nothing reads would hold parameters with no gradient."""
    read = {name for node in graph.nodes for name in node.inputs}
    for node in graph.nodes[:-1]:
        if node.name not in read:
            raise ValueError(f"{_called(node)}: nothing reads it; remove it")


def _parameters(node: Node, reads: tuple[Shape, ...]) -> tuple[Parameter, ...]:
    match node:
        case Linear():
            weight: Shape = (node.outputs, reads[0][-1])
            return _weight_and_bias(node, weight, reads[0][-1], node.start)
        case Conv2d():
            weight = (node.channels, reads[0][0] // node.groups, *node.kernel)
            return _weight_and_bias(node, weight, math.prod(weight[1:]), node.start)
        case GroupNorm() | LayerNorm():
            shape = reads[0][:1] if isinstance(node, GroupNorm) else reads[0][-node.dimensions :]
            weights = Parameter(f"{node.name}.weight", shape, node.trained, "one", 1)
            return (weights, Parameter(f"{node.name}.bias", shape, node.trained, "zero", 1))
        case Embedding():
            # b = sqrt(3): variance 1, as a standardised column's.
            return (Parameter(f"{node.name}.weight", (node.rows, node.width), node.trained, "uniform", 2),)
        case _:
            return ()


def _weight_and_bias(node: Linear | Conv2d, shape: Shape, fan_in: int, start: Start) -> tuple[Parameter, ...]:
    weight = Parameter(f"{node.name}.weight", shape, node.trained, start, fan_in)
    bias = Parameter(f"{node.name}.bias", shape[:1], node.trained, "zero", fan_in)
    return (weight, bias) if node.bias else (weight,)


def _multiplications(step: Step) -> int:
    """Each weight of a linear layer or convolution is used at each position of what comes out."""
    if not isinstance(step.node, Linear | Conv2d):
        return 0
    positions: Sequence[int] = step.gives[:-1] if isinstance(step.node, Linear) else step.gives[1:]
    return math.prod(positions) * step.parameters[0].length


def _within(node: Node, what: str, figure: int, bound: int) -> None:
    if figure > bound:
        raise ValueError(f"{_called(node)}: {figure} {what}, at most {bound} are allowed; make the model smaller")


def _called(node: Node) -> str:
    return f"node {node.name} ({node.operator})"
