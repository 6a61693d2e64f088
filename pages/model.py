"""A contract's model and columns in plain words: what it is, how large, how much of it is trained, and from where."""

import re
from collections import Counter
from collections.abc import Sequence
from itertools import groupby
from typing import Final

from protocol.clauses import Column
from protocol.graph_plan import Plan
from protocol.model import (
    Cnn,
    Embedded,
    Embeddings,
    FrozenBackbone,
    Logistic,
    Lora,
    Mlp,
    Model,
    starts_from_weights,
    weights_of,
)
from protocol.training_study import TrainingContract

_PIXEL: Final = re.compile(r"^(.+?)(?:_(?:red|green|blue))?_y[0-9]+_x[0-9]+$")
_LEAST_PIXELS: Final = 4
_SPELLED: Final = 24


def model_in_words(contract: TrainingContract) -> str:
    """One sentence: the family, its parameters, how many of them are trained, and where frozen ones come from."""
    return f"{_kind(contract.model, contract.plan)}; {_size(contract.plan)}{_weights(contract.model)}"


def columns_in_words(columns: Sequence[Column]) -> str:
    """What is read, an image's pixels in one phrase."""
    parts: list[str] = []
    for image, run in groupby(columns, key=_image_of):
        held = list(run)
        whole = image is not None and len(held) >= _LEAST_PIXELS
        parts += [f"{image} (image of {len(held)} values)"] if whole else map(_column, held)
    return "; ".join(parts)


def names_in_words(names: Sequence[str]) -> str:
    """Names of columns, an image's pixels in one phrase."""
    parts: list[str] = []
    for image, run in groupby(names, key=_image_in):
        held = list(run)
        parts += [f"{len(held)} values of image {image}"] if image and len(held) >= _LEAST_PIXELS else held
    return ", ".join(parts)


def _image_of(column: Column) -> str | None:
    """The image that a column is a pixel of, going by its name and range; None for other columns."""
    ranged = column.kind == "number" and (column.minimum, column.maximum, column.unit) == (0.0, 1.0, "")
    return _image_in(column.name) if ranged else None


def _image_in(name: str) -> str | None:
    found = _PIXEL.match(name)
    return found[1] if found else None


def _column(column: Column) -> str:
    if column.kind == "binary":
        return f"{column.name} (yes or no)"
    return f"{column.name} ({column.minimum:g} to {column.maximum:g} {column.unit}".rstrip() + ")"


def _kind(model: Model, plan: Plan) -> str:
    match model:
        case Logistic():
            return "logistic regression"
        case Mlp():
            return f"neural network with hidden layers of {_listed(model.hidden)}"
        case Cnn():
            image = f"{model.image.column}, {model.image.width} by {model.image.height} pixels"
            blocks = _listed([block.channels for block in model.blocks])
            return f"convolutional network (CNN) over {image}, with blocks of {blocks} channels{_hidden(model.hidden)}"
        case Embeddings():
            taken = ", ".join(one.columns[0] if len(one.columns) == 1 else _category(one) for one in model.embedded)
            return f"neural network over embeddings of {taken}{_hidden(model.hidden)}"
        case FrozenBackbone():
            return f"one trained linear layer behind a frozen graph of {_operators(plan)}"
        case Lora():
            return f"frozen graph of {_operators(plan)}, adapted by LoRA of rank {model.rank} at {_some(model.adapted)}"
        case _:
            return f"graph of {_operators(plan)}"


def _category(one: Embedded) -> str:
    return f"one of {len(one.columns)} ({_some(one.columns)})"


def _hidden(widths: Sequence[int]) -> str:
    return f" and hidden layers of {_listed(widths)}" if widths else ""


def _operators(plan: Plan) -> str:
    counted = Counter(step.node.operator for step in plan.steps)
    kinds = ", ".join(f"{count} {operator}" for operator, count in sorted(counted.items()))
    return f"{len(plan.steps)} nodes ({kinds})"


def _size(plan: Plan) -> str:
    trained, frozen = (sum(one.length for one in part) for part in (plan.trained, plan.frozen))
    if not frozen:
        return f"{trained:,} parameters, all of them trained"
    return f"{trained + frozen:,} parameters, of which {trained:,} are trained"


def _weights(model: Model) -> str:
    weights = weights_of(model)
    if weights is None:
        return ""
    what = "all values that training starts from" if starts_from_weights(model) else "the frozen values"
    return f"; {what} are in the contract: {weights.size:,} bytes with SHA-256 {weights.digest}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SPELLED])
    return shown if len(names) <= _SPELLED else f"{shown} and {len(names) - _SPELLED} more"


def _listed(numbers: Sequence[int]) -> str:
    return ", ".join(map(str, numbers))
