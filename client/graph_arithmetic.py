"""What a model computes, in NumPy: the reference for its ONNX form, and a way to predict without torch or ONNX.

Every operator of ``protocol.model_graph`` over n records at once, in float64.
"""

import math
from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

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

Floats = NDArray[np.float64]
Pair = tuple[int, int]

_ROWS_AT_ONCE: Final = 256
_ERF: Final = np.frompyfunc(math.erf, 1, 1)


def logits(plan: Plan, tensors: Mapping[str, Floats], inputs: Floats) -> Floats:
    """The plan's logits (n,) for standardised inputs (n, columns); ``tensors`` by the names of its parameters."""
    answers = np.empty(len(inputs))
    for start in range(0, len(inputs), _ROWS_AT_ONCE):
        values = {FEATURES: inputs[start : start + _ROWS_AT_ONCE]}
        for step in plan.steps:
            values[step.node.name] = _value(step, [values[name] for name in step.node.inputs], tensors)
        answers[start : start + _ROWS_AT_ONCE] = values[plan.steps[-1].node.name][:, 0]
    return answers


def sigmoid(values: Floats) -> Floats:
    """1 / (1 + exp(-x)), in two branches of one function: exp never overflows."""
    small = np.exp(-np.abs(values))
    answer: Floats = np.where(values >= 0, 1.0, small) / (1.0 + small)
    return answer


def _value(step: Step, read: list[Floats], tensors: Mapping[str, Floats]) -> Floats:
    value, held = read[0], [tensors[one.name] for one in step.parameters]
    match step.node:
        case Linear():
            return _plus(value @ held[0].T, held[1:], 1)
        case Conv2d() as node:
            return _convolved(node, value, held)
        case GroupNorm() as node:
            return _grouped(node, value, held)
        case LayerNorm() as node:
            over = tuple(range(value.ndim - node.dimensions, value.ndim))
            return _normalised(value, over, node.epsilon) * held[0] + held[1]
        case Embedding() as node:
            rows = np.clip(np.round((value + 1) * ((node.rows - 1) / 2)), 0, node.rows - 1)
            found: Floats = held[0][rows.astype(np.int64)]
            return found
        case _:
            return _joined(step, read)


def _joined(step: Step, read: list[Floats]) -> Floats:
    """Operators without parameters."""
    value = read[0]
    match step.node:
        case Select() as node:
            return value[:, list(node.columns)]
        case Add():
            total: Floats = np.sum(read, axis=0)
            return total
        case Concat() as node:
            return np.concatenate(read, axis=node.axis + 1)
        case Scale() as node:
            return node.factor * value + node.offset
        case Reshape() | Flatten():
            return value.reshape(len(value), *step.gives)
        case MaxPool2d() as node:
            highest: Floats = _windows(_padded(value, node.padding, -np.inf), node.kernel, node.stride).max((-1, -2))
            return highest
        case AvgPool2d() as node:
            return _means(_padded(value, node.padding, 0.0), node.kernel, node.stride)
        case AdaptiveAvgPool2d():
            window = (step.reads[0][1] // step.gives[1], step.reads[0][2] // step.gives[2])
            return _means(value, window, window)
        case _:
            return _activated(step, value)


def _activated(step: Step, value: Floats) -> Floats:
    match step.node:
        case Relu():
            return np.maximum(value, 0.0)
        case Gelu():
            return value * (1.0 + np.asarray(_ERF(value / math.sqrt(2.0)), dtype=np.float64)) / 2.0
        case Tanh():
            return np.tanh(value)
        case Sigmoid():
            return sigmoid(value)
        case _:
            raise TypeError(f"no arithmetic for {step.node.operator}")


def _convolved(node: Conv2d, value: Floats, held: list[Floats]) -> Floats:
    spread = tuple(step * (size - 1) + 1 for step, size in zip(node.dilation, node.kernel, strict=True))
    seen = _windows(_padded(value, node.padding, 0.0), (spread[0], spread[1]), node.stride)
    seen = seen[..., :: node.dilation[0], :: node.dilation[1]]
    parts = zip(np.split(seen, node.groups, axis=1), np.split(held[0], node.groups), strict=True)
    summed = [np.einsum("nchwij,ocij->nohw", some, weight, optimize=True) for some, weight in parts]
    return _plus(np.concatenate(summed, axis=1), held[1:], 3)


def _plus(value: Floats, bias: list[Floats], dimensions: int) -> Floats:
    """The bias over the channels; of a linear layer they are the last dimension."""
    if not bias:
        return value
    return value + (bias[0] if dimensions == 1 else bias[0][:, None, None])


def _grouped(node: GroupNorm, value: Floats, held: list[Floats]) -> Floats:
    groups = value.reshape(len(value), node.groups, -1)
    scaled = _normalised(groups, (2,), node.epsilon).reshape(value.shape)
    channels = (-1, *(1 for _ in value.shape[2:]))
    return scaled * held[0].reshape(channels) + held[1].reshape(channels)


def _normalised(value: Floats, over: tuple[int, ...], epsilon: float) -> Floats:
    middle = value.mean(axis=over, keepdims=True)
    answer: Floats = (value - middle) / np.sqrt(value.var(axis=over, keepdims=True) + epsilon)
    return answer


def _means(value: Floats, kernel: Pair, stride: Pair) -> Floats:
    mean: Floats = _windows(value, kernel, stride).mean((-1, -2))
    return mean


def _padded(value: Floats, margin: Pair, filling: float) -> Floats:
    widths = ((0, 0), (0, 0), (margin[0], margin[0]), (margin[1], margin[1]))
    return np.pad(value, widths, constant_values=filling)


def _windows(value: Floats, kernel: Pair, stride: Pair) -> Floats:
    """(n, c, rows, columns, *kernel): what each window sees."""
    seen: Floats = sliding_window_view(value, kernel, axis=(2, 3))
    return seen[:, :, :: stride[0], :: stride[1]]
