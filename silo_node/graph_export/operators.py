"""Torch's operators (ATen), as ``torch.export`` writes them, and which node of a contract's graph each becomes.

A translation takes an operator's arguments by name and gives the node's attributes, or refuses a setting that the
node can't have. What has no translation is refused by name, with what to use in its place where that is known.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from torch.fx import Node as Traced

from protocol.graph_shapes import Shape
from silo_node.graph_export.errors import ExportRefused

Arguments = Mapping[str, Any]
Attributes = dict[str, Any]

SAME: Final = frozenset(
    {"aten.dropout.default", "aten.feature_dropout.default", "aten.contiguous.default", "aten.clone.default"}
    | {"aten.alias.default", "aten.detach.default", "aten.detach_.default"}
)
"""Give what they read; dropout does since a model is exported as it evaluates."""

VALUELESS: Final = frozenset({"aten._assert_tensor_metadata.default", "aten.lift_fresh_copy.default"})
"""Give nothing that a node could read: a check of the trace, and a constant index."""

SHAPES: Final = frozenset(
    {"aten.reshape.default", "aten.view.default", "aten._unsafe_view.default", "aten.flatten.using_ints"}
    | {"aten.unflatten.int", "aten.squeeze.dim", "aten.squeeze.dims", "aten.unsqueeze.default"}
)
"""Give the same values in the same order; which shape they have, the traced value says."""

AFFINE: Final = frozenset(
    {"aten.add.Tensor", "aten.sub.Tensor", "aten.mul.Tensor", "aten.div.Tensor", "aten.neg.default"}
)
"""Of a value and a number."""

CHOICES: Final = frozenset({"aten.slice.Tensor", "aten.select.int", "aten.index_select.default", "aten.index.Tensor"})
"""Give some columns of a value (records, columns)."""

_REMEDIES: Final = {
    "batch_norm": "it mixes the records of a batch; use torch.nn.GroupNorm",
    "native_batch_norm": "it mixes the records of a batch; use torch.nn.GroupNorm",
    "instance_norm": "use torch.nn.GroupNorm with as many groups as channels",
    "conv2d": "give its padding as numbers",
    "silu": "use GELU or ReLU",
    "leaky_relu": "use ReLU or GELU",
    "softmax": "the model's one logit needs none; leave it out",
    "log_softmax": "the model's one logit needs none; leave it out",
    "scaled_dot_product_attention": "attention is not offered; use a frozen backbone without it",
    "conv1d": "use torch.nn.Conv2d with a height of 1",
    "permute": "bring the columns into order with an index on the input",
    "transpose": "bring the columns into order with an index on the input",
    "lstm": "recurrent layers are not offered",
}


def linear(given: Arguments) -> Attributes:
    return {"operator": "linear"}


def conv2d(given: Arguments) -> Attributes:
    names = ("stride", "padding", "dilation")
    return {"operator": "conv2d", "groups": given["groups"], **{name: pair(given[name]) for name in names}}


def group_norm(given: Arguments) -> Attributes:
    return {"operator": "group_norm", "groups": given["num_groups"], "epsilon": given["eps"]}


def layer_norm(given: Arguments) -> Attributes:
    return {"operator": "layer_norm", "dimensions": len(given["normalized_shape"]), "epsilon": given["eps"]}


def gelu(given: Arguments) -> Attributes:
    _require(given["approximate"] == "none", "gelu", "approximate='tanh'", "use torch.nn.GELU()")
    return {"operator": "gelu"}


def max_pool2d(given: Arguments) -> Attributes:
    _require(pair(given["dilation"]) == [1, 1], "max_pool2d", "a dilation", "leave it out")
    return {"operator": "max_pool2d", **_window(given)}


def avg_pool2d(given: Arguments) -> Attributes:
    padded = any(pair(given["padding"])) and not given["count_include_pad"]
    _require(not padded, "avg_pool2d", "count_include_pad=False", "leave the padding out")
    _require(given["divisor_override"] is None, "avg_pool2d", "divisor_override", "leave it out")
    return {"operator": "avg_pool2d", **_window(given)}


def adaptive_avg_pool2d(given: Arguments) -> Attributes:
    return {"operator": "adaptive_avg_pool2d", "size": pair(given["output_size"])}


def plain(operator: str) -> Callable[[Arguments], Attributes]:
    """The translation of an operator without settings."""
    return lambda _: {"operator": operator}


TRANSLATIONS: Final[dict[str, Callable[[Arguments], Attributes]]] = {
    "aten.linear.default": linear,
    "aten.conv2d.default": conv2d,
    "aten.group_norm.default": group_norm,
    "aten.layer_norm.default": layer_norm,
    "aten.relu.default": plain("relu"),
    "aten.relu_.default": plain("relu"),
    "aten.tanh.default": plain("tanh"),
    "aten.tanh_.default": plain("tanh"),
    "aten.sigmoid.default": plain("sigmoid"),
    "aten.sigmoid_.default": plain("sigmoid"),
    "aten.gelu.default": gelu,
    "aten.max_pool2d.default": max_pool2d,
    "aten.avg_pool2d.default": avg_pool2d,
    "aten.adaptive_avg_pool2d.default": adaptive_avg_pool2d,
}


def arguments_of(traced: Traced) -> Attributes:
    """An operator's arguments by name, those left out by their defaults."""
    found = {}
    schema: Any = getattr(traced.target, "_schema", None)
    if schema is None:
        raise refused(str(traced.target))
    for place, argument in enumerate(schema.arguments):
        default = argument.default_value
        found[argument.name] = (
            traced.args[place] if place < len(traced.args) else traced.kwargs.get(argument.name, default)
        )
    return found


def affine(target: str, number: float) -> tuple[float, float]:
    """(factor, offset) of an operator of ``AFFINE`` with this number."""
    match target:
        case "aten.add.Tensor":
            return 1.0, number
        case "aten.sub.Tensor":
            return 1.0, -number
        case "aten.mul.Tensor":
            return number, 0.0
        case "aten.div.Tensor":
            return 1.0 / number, 0.0
        case _:
            return -1.0, 0.0


def chosen_columns(target: str, given: Arguments, before: Shape, numbers: Callable[[Any], list[int]]) -> list[int]:
    """The columns that an operator of ``CHOICES`` gives of a record's value; none where it does something else.

    numbers: the whole numbers of a constant index.
    """
    if len(before) != 1:
        return []
    columns = list(range(before[0]))
    match target:
        case "aten.slice.Tensor" if given["dim"] == 1:
            return columns[given["start"] : given["end"] : given["step"]]
        case "aten.select.int" if given["dim"] == 1:
            return [columns[given["index"]]]
        case "aten.index_select.default" if given["dim"] == 1:
            return [columns[one] for one in numbers(given["index"])]
        case "aten.index.Tensor" if len(given["indices"]) == 2 and given["indices"][0] is None:
            return [columns[one] for one in numbers(given["indices"][1])]
        case _:
            return []


def refused(target: str) -> ExportRefused:
    """The refusal of an operator that has no translation."""
    name = target.removeprefix("aten.").partition(".")[0].rstrip("_").lstrip("_")
    remedy = _REMEDIES.get(name, "docs/researcher.md lists the operators that there are")
    return ExportRefused(f"operator {target} is not on the list of a contract's operators: {remedy}")


def pair(value: Any) -> list[int]:
    """One number for both dimensions, or two."""
    return [value[0], value[-1]] if isinstance(value, list | tuple) else [value, value]


def _window(given: Arguments) -> Attributes:
    _require(not given["ceil_mode"], "a pool", "ceil_mode=True", "leave it out")
    return {
        "kernel": pair(given["kernel_size"]),
        "stride": pair(given["stride"] or given["kernel_size"]),
        "padding": pair(given["padding"]),
    }


def _require(holds: bool, operator: str, setting: str, remedy: str) -> None:
    if not holds:
        raise ExportRefused(f"operator {operator} with {setting} has no node in a contract's graph: {remedy}")
