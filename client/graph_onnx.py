"""A plan as ONNX nodes, in float64; around what common runtimes compute in float32 only, values are cast.

A node of the plan gives the value ``node:NAME``, so a reader of the ONNX file finds the contract's graph in it.
"""

import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper

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
    Reshape,
    Scale,
    Select,
)

Array = NDArray[Any]

_SINGLE: Final = (Conv2d, AvgPool2d, Gelu)
"""ONNX Runtime has these for float32 only on a processor."""
_SAME: Final = {"relu": "Relu", "tanh": "Tanh", "sigmoid": "Sigmoid"}


class GraphWriter:
    """The ONNX nodes of a plan, and the constants that they read."""

    def __init__(self, tensors: Mapping[str, Array]) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Array] = {}
        self._tensors = tensors
        self._names: dict[str, str] = {}

    def write(self, plan: Plan, inputs: str) -> str:
        """Adds the whole plan; ``inputs`` is the value that its features are. The name of its last value."""
        self._names[FEATURES] = inputs
        for step in plan.steps:
            self._names[step.node.name] = f"node:{step.node.name}"
            self._write(step)
        return self._names[plan.steps[-1].node.name]

    def node(self, operator: str, reads: list[str], gives: str, **attributes: Any) -> str:
        """Adds one node; the name of what it gives."""
        self.nodes.append(helper.make_node(operator, reads, [gives], **attributes))
        return gives

    def constant(self, name: str, value: Array) -> str:
        """Adds a constant; its name."""
        self.constants[name] = value
        return name

    def _write(self, step: Step) -> None:
        reads, gives = [self._names[name] for name in step.node.inputs], self._names[step.node.name]
        if not isinstance(step.node, _SINGLE):
            self._operate(step, reads, gives)
            return
        single = self.node("Cast", reads, f"{gives}:single", to=TensorProto.FLOAT)
        self._operate(step, [single], f"{gives}:computed")
        self.node("Cast", [f"{gives}:computed"], gives, to=TensorProto.DOUBLE)

    def _operate(self, step: Step, reads: list[str], gives: str) -> None:
        node, held = step.node, self._held(step)
        match node:
            case Linear():
                self._linear(step, reads[0], held, gives)
            case Conv2d():
                windows = _windows(node.kernel, node.stride, node.padding)
                dilation = list(node.dilation)
                self.node("Conv", [*reads, *held], gives, group=node.groups, dilations=dilation, **windows)
            case GroupNorm():
                self._group_norm(step, reads[0], held, gives)
            case LayerNorm():
                axis, epsilon = -node.dimensions, node.epsilon
                self.node("LayerNormalization", [*reads, *held], gives, axis=axis, epsilon=epsilon)
            case Embedding():
                self._embedding(node, reads[0], held[0], gives)
            case MaxPool2d():
                self.node("MaxPool", reads, gives, **_windows(node.kernel, node.stride, node.padding))
            case AvgPool2d():
                windows = _windows(node.kernel, node.stride, node.padding)
                self.node("AveragePool", reads, gives, count_include_pad=1, **windows)
            case AdaptiveAvgPool2d():
                self._even_means(step, reads[0], gives)
            case _:
                self._join(step, reads, gives)

    def _join(self, step: Step, reads: list[str], gives: str) -> None:
        """Operators without parameters and windows."""
        match step.node:
            case Select() as node:
                columns = self.constant(f"{gives}:columns", np.array(node.columns, dtype=np.int64))
                self.node("Gather", [*reads, columns], gives, axis=1)
            case Add():
                self.node("Sum", reads, gives)
            case Concat() as node:
                self.node("Concat", reads, gives, axis=node.axis + 1)
            case Scale() as node:
                factor = self.constant(f"{gives}:factor", np.array(node.factor))
                offset = self.constant(f"{gives}:offset", np.array(node.offset))
                self.node("Add", [self.node("Mul", [*reads, factor], f"{gives}:scaled"), offset], gives)
            case Reshape() | Flatten():
                self._reshape(reads[0], step.gives, gives)
            case Gelu():
                self._gelu(reads[0], gives)
            case _:
                self.node(_SAME[step.node.operator], reads, gives)

    def _held(self, step: Step) -> list[str]:
        """The node's parameters as constants, in the precision that it is computed in."""
        kind = np.float32 if isinstance(step.node, _SINGLE) else np.float64
        return [self.constant(one.name, self._tensors[one.name].astype(kind)) for one in step.parameters]

    def _linear(self, step: Step, read: str, held: list[str], gives: str) -> None:
        if len(step.gives) == 1:
            self.node("Gemm", [read, *held], gives, transB=1)
            return
        turned = self.node("Transpose", [held[0]], f"{gives}:turned", perm=[1, 0])
        product = self.node("MatMul", [read, turned], f"{gives}:product" if held[1:] else gives)
        if held[1:]:
            self.node("Add", [product, held[1]], gives)

    def _group_norm(self, step: Step, read: str, held: list[str], gives: str) -> None:
        node = step.node
        if not isinstance(node, GroupNorm):
            raise TypeError(f"{node.operator} is no group_norm")
        size = math.prod(step.gives) // node.groups
        ones, zeros = self.constant(f"{gives}:ones", np.ones(size)), self.constant(f"{gives}:zeros", np.zeros(size))
        groups = self._reshape(read, (node.groups, size), f"{gives}:groups")
        scaled = self.node(
            "LayerNormalization", [groups, ones, zeros], f"{gives}:normal", axis=-1, epsilon=node.epsilon
        )
        back = self._reshape(scaled, step.gives, f"{gives}:back")
        channels = (step.gives[0], *(1 for _ in step.gives[1:]))
        weight, bias = (self.constant(name, self.constants[name].reshape(channels)) for name in held)
        self.node("Add", [self.node("Mul", [back, weight], f"{gives}:weighted"), bias], gives)

    def _embedding(self, node: Embedding, read: str, table: str, gives: str) -> None:
        one = self.constant(f"{gives}:one", np.array(1.0))
        half = self.constant(f"{gives}:half", np.array((node.rows - 1) / 2))
        least = self.constant(f"{gives}:least", np.array(0.0))
        most = self.constant(f"{gives}:most", np.array(node.rows - 1.0))
        placed = self.node("Mul", [self.node("Add", [read, one], f"{gives}:above"), half], f"{gives}:placed")
        whole = self.node("Round", [placed], f"{gives}:whole")
        above = self.node("Max", [whole, least], f"{gives}:bounded")
        rows = self.node(
            "Cast", [self.node("Min", [above, most], f"{gives}:row")], f"{gives}:rows", to=TensorProto.INT64
        )
        self.node("Gather", [table, rows], gives, axis=0)

    def _even_means(self, step: Step, read: str, gives: str) -> None:
        (channels, height, width), (_, rows, columns) = step.reads[0], step.gives
        split = (channels, rows, height // rows, columns, width // columns)
        windows = self._reshape(read, split, f"{gives}:windows")
        self.node("ReduceMean", [windows], gives, axes=[3, 5], keepdims=0)

    def _gelu(self, read: str, gives: str) -> None:
        root = self.constant(f"{gives}:root", np.array(math.sqrt(2.0), dtype=np.float32))
        one = self.constant(f"{gives}:one", np.array(1.0, dtype=np.float32))
        half = self.constant(f"{gives}:half", np.array(0.5, dtype=np.float32))
        error = self.node("Erf", [self.node("Div", [read, root], f"{gives}:scaled")], f"{gives}:erf")
        twice = self.node("Mul", [read, self.node("Add", [error, one], f"{gives}:share")], f"{gives}:twice")
        self.node("Mul", [twice, half], gives)

    def _reshape(self, read: str, shape: tuple[int, ...], gives: str) -> str:
        """Each record in another shape; ONNX's 0 keeps the number of records."""
        wanted = self.constant(f"{gives}:shape", np.array([0, *shape], dtype=np.int64))
        return self.node("Reshape", [read, wanted], gives)


def _windows(kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]) -> dict[str, list[int]]:
    return {"kernel_shape": list(kernel), "strides": list(stride), "pads": [*padding, *padding]}
