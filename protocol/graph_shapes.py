"""The shape of what an operator gives for one record, from the shapes of what it reads; or why it gives nothing."""

import math
from typing import Final

from protocol.model_graph import (
    MAX_EXTENT,
    AdaptiveAvgPool2d,
    Add,
    AvgPool2d,
    Concat,
    Conv2d,
    Embedding,
    Flatten,
    GroupNorm,
    LayerNorm,
    Linear,
    MaxPool2d,
    Node,
    Reshape,
    Select,
)

Shape = tuple[int, ...]

_IMAGE: Final = 3
_NO_DILATION: Final = (1, 1)


def output_shape(node: Node, reads: tuple[Shape, ...]) -> Shape:
    """Raises ``ValueError`` with what the operator takes where ``reads`` is something else."""
    read = reads[0]
    match node:
        case Select():
            return _selected(node, read)
        case Linear():
            return (*read[:-1], node.outputs)
        case Conv2d():
            return _convolved(node, read)
        case GroupNorm() | LayerNorm():
            return _normalised(node, read)
        case Embedding():
            _require(len(read) == 1, f"takes whole numbers of shape (k), not {shown(read)}")
            return (*read, node.width)
        case Flatten():
            return (math.prod(read),)
        case Reshape():
            wanted = math.prod(node.shape)
            _require(math.prod(read) == wanted, f"{shown(node.shape)} has {wanted} values, {shown(read)} has others")
            return node.shape
        case MaxPool2d() | AvgPool2d():
            return _pooled(node, read)
        case AdaptiveAvgPool2d():
            return _evenly_pooled(node, read)
        case Add():
            _require(len(set(reads)) == 1, f"adds values of one shape, not {', '.join(map(shown, reads))}")
            return read
        case Concat():
            return _joined(node, reads)
        case _:
            return read


def shown(shape: Shape) -> str:
    return f"({', '.join(map(str, shape))})"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)


def _selected(node: Select, read: Shape) -> Shape:
    _require(len(read) == 1, f"takes a value of shape (d), not {shown(read)}; flatten it first")
    last = max(node.columns)
    _require(last < read[0], f"column {last} is not among the {read[0]} that it reads, counted from 0")
    return (len(node.columns),)


def _convolved(node: Conv2d, read: Shape) -> Shape:
    _require_image(read)
    _require(
        read[0] % node.groups == 0 and node.channels % node.groups == 0,
        f"{node.groups} groups must divide the {read[0]} channels it reads and the {node.channels} it gives",
    )
    return (node.channels, *_windows(read, node.kernel, node.stride, node.padding, node.dilation))


def _normalised(node: GroupNorm | LayerNorm, read: Shape) -> Shape:
    if isinstance(node, GroupNorm):
        _require(read[0] % node.groups == 0, f"{node.groups} groups must divide the {read[0]} channels")
        _require(math.prod(read) > node.groups, "a group has one value, which it would make zero; take fewer groups")
        return read
    _require(node.dimensions <= len(read), f"normalises {node.dimensions} dimensions, {shown(read)} has fewer")
    _require(math.prod(read[-node.dimensions :]) > 1, "normalises one value, which it would make zero; take more")
    return read


def _pooled(node: MaxPool2d | AvgPool2d, read: Shape) -> Shape:
    _require_image(read)
    halves = all(2 * margin <= size for margin, size in zip(node.padding, node.kernel, strict=True))
    _require(halves, f"padding {shown(node.padding)} must be at most half of the window {shown(node.kernel)}")
    return (read[0], *_windows(read, node.kernel, node.stride, node.padding, _NO_DILATION))


def _evenly_pooled(node: AdaptiveAvgPool2d, read: Shape) -> Shape:
    _require_image(read)
    even = all(size % wanted == 0 for size, wanted in zip(read[1:], node.size, strict=True))
    _require(even, f"size {shown(node.size)} must divide {shown(read[1:])}; use avg_pool2d with a window")
    return (read[0], *node.size)


def _joined(node: Concat, reads: tuple[Shape, ...]) -> Shape:
    read, axis = reads[0], node.axis
    _require(axis < len(read), f"axis {axis} is not among the {len(read)} dimensions of {shown(read)}")
    others = {(len(one), one[:axis], one[axis + 1 :]) for one in reads}
    _require(len(others) == 1, f"joins values that differ in axis {axis} only, not {', '.join(map(shown, reads))}")
    extent = sum(one[axis] for one in reads)
    _require(extent <= MAX_EXTENT, f"{extent} along axis {axis}, at most {MAX_EXTENT} are allowed")
    return (*read[:axis], extent, *read[axis + 1 :])


def _require_image(read: Shape) -> None:
    _require(
        len(read) == _IMAGE, f"takes a value of shape (channels, height, width), not {shown(read)}; reshape it first"
    )


def _windows(
    read: Shape,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
) -> Shape:
    """How often a window fits into (height, width)."""
    counts = []
    for size, window, step, margin, spread in zip(read[1:], kernel, stride, padding, dilation, strict=True):
        free = size + 2 * margin - spread * (window - 1) - 1
        _require(free >= 0, f"a window of {shown(kernel)} doesn't fit into {shown(read[1:])}")
        counts.append(free // step + 1)
    return tuple(counts)
