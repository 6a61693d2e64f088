"""Which way clipped sums are computed for a model, chosen from its graph alone, and why: a value for the log."""

from dataclasses import dataclass, replace
from typing import Final, Literal, Self

from torch import nn

from silo_node.training.separability import require_separable

EngineName = Literal["bookkeeping", "hooks"]

_NAMES: Final[dict[type[nn.Module], str]] = {
    nn.Linear: "linear",
    nn.Conv2d: "convolution",
    nn.GroupNorm: "norm",
    nn.LayerNorm: "norm",
    nn.Embedding: "embedding",
}


@dataclass(frozen=True, slots=True)
class EngineChoice:
    """An engine's name and the reason for it. It follows from the contract and the processor: no row is in it."""

    name: EngineName
    reason: str

    def __str__(self) -> str:
        return f"engine={self.name} because {self.reason}"

    def with_note(self, note: str) -> Self:
        """The same choice with something added to its reason."""
        return replace(self, reason=f"{self.reason}; {note}")


def choice_for(model: nn.Module, rows_per_unit: int = 1) -> EngineChoice:
    """The engine for ``model``. Raises TrainingRefused for one in which records are not separate."""
    require_separable(model)
    if rows_per_unit > 1:
        return EngineChoice(
            "hooks", f"a unit has up to {rows_per_unit} rows, whose gradients are added before they are clipped"
        )
    holding = [(name, layer) for name, layer in model.named_modules() if _holds_trainable(layer)]
    for name, layer in holding:
        if fault := without_closed_form(layer):
            return EngineChoice("hooks", f"layer {name or 'of the model'} is {fault}")
    kinds = sorted({_NAMES[type(layer)] for _, layer in holding})
    return EngineChoice(
        "bookkeeping", f"every trainable parameter stands in a {_either(kinds)} layer that is used once"
    )


def without_closed_form(layer: nn.Module) -> str | None:
    """What about a layer with trainable parameters book-keeping has no formula for; None where it has one."""
    kind = type(layer).__name__
    if type(layer) not in _NAMES:
        return f"a {kind}, for which there is no closed form"
    if isinstance(layer, nn.Conv2d) and (layer.padding_mode != "zeros" or isinstance(layer.padding, str)):
        return f"a {kind} padded otherwise than by a fixed number of zeros"
    return None


def is_linear_chain(model: nn.Module) -> bool:
    """Whether linear layers with biases stand at even places and ReLU at odd ones, none of it frozen."""
    if not isinstance(model, nn.Sequential) or len(model) % 2 == 0:
        return False
    if not all(parameter.requires_grad for parameter in model.parameters()):
        return False
    return all(
        type(layer) is nn.ReLU if place % 2 else type(layer) is nn.Linear and layer.bias is not None
        for place, layer in enumerate(model)
    )


def _holds_trainable(layer: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in layer.parameters(recurse=False))


def _either(kinds: list[str]) -> str:
    return " or ".join([", ".join(kinds[:-1]), kinds[-1]] if len(kinds) > 1 else kinds)
