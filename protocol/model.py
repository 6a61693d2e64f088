"""The models a contract may name: families, each a short way to say a graph, or a graph itself. No code comes along.

Each family compiles to a graph (``protocol.model_graph``), so there is one way from a contract to shapes, to a torch
model and to ONNX. ``graph_of`` needs the contract's columns where a family names some.
"""

from collections.abc import Sequence
from typing import Annotated, Literal, Protocol

from pydantic import Field

from protocol.graph_plan import Parameter, Plan, plan_graph
from protocol.ids import ColumnName, Strict
from protocol.model_graph import MAX_COLUMNS, Embedding, Graph, NodeName, Select
from protocol.model_weights import Weights

Width = Annotated[int, Field(ge=1, le=8192)]
Hidden = Annotated[tuple[Width, ...], Field(max_length=8)]


class InputColumn(Protocol):
    """What a model may know of a column: ``protocol.clauses.Column``."""

    @property
    def name(self) -> str: ...
    @property
    def minimum(self) -> float: ...
    @property
    def maximum(self) -> float: ...


class Logistic(Strict):
    """Logistic regression, from zero."""

    family: Literal["logistic"]


class Mlp(Strict):
    """Linear layers with ReLU between them."""

    family: Literal["mlp"]
    hidden: Annotated[tuple[Width, ...], Field(min_length=1, max_length=8)]


class Image(Strict):
    """An image column: its pixels are the columns NAME_y3_x7, or NAME_red_y3_x7 and so on with 3 channels."""

    column: ColumnName
    width: Annotated[int, Field(ge=1, le=512)]
    height: Annotated[int, Field(ge=1, le=512)]
    channels: Literal[1, 3] = 1


class Block(Strict):
    """A convolution that keeps height and width, GroupNorm, ReLU, and the maximum of ``pool`` by ``pool`` windows."""

    channels: Annotated[int, Field(ge=1, le=1024)]
    kernel: Literal[1, 3, 5, 7] = 3
    groups: Annotated[int, Field(ge=1, le=1024)] = 4
    pool: Annotated[int, Field(ge=1, le=8)] = 2


class Cnn(Strict):
    """Blocks over an image, then linear layers with ReLU between them; columns beside the image go to the latter."""

    family: Literal["cnn"]
    image: Image
    blocks: Annotated[tuple[Block, ...], Field(min_length=1, max_length=8)]
    hidden: Hidden = ()


class Embedded(Strict):
    """One column of whole numbers, or the yes/no columns of one category; each value gets ``width`` trained numbers."""

    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=1000)]
    width: Annotated[int, Field(ge=1, le=1024)]


class Embeddings(Strict):
    """Embedded columns beside the others as they are, then linear layers with ReLU between them."""

    family: Literal["embedding"]
    embedded: Annotated[tuple[Embedded, ...], Field(min_length=1, max_length=64)]
    hidden: Hidden


class Free(Strict):
    """A graph; ``weights`` hold the values of nodes that aren't trained, with ``start`` those of all others too."""

    family: Literal["graph"]
    graph: Graph
    weights: Weights | None = None
    start: bool = False


class FrozenBackbone(Strict):
    """A graph of which nothing is trained, and one linear layer behind it: ``head``, from zero."""

    family: Literal["frozen"]
    backbone: Graph
    weights: Weights


class Lora(Strict):
    """Hu et al., "LoRA", 2021: a frozen graph whose linear nodes ``adapted`` get a trained product of two thin ones.

    Beside x W^T stands scale / rank * x A^T B^T, with A (rank, inputs) uniform and B (outputs, rank) zero.
    """

    family: Literal["lora"]
    graph: Graph
    adapted: Annotated[tuple[NodeName, ...], Field(min_length=1, max_length=64)]
    rank: Annotated[int, Field(ge=1, le=256)]
    scale: Annotated[float, Field(gt=0, le=1000)]
    weights: Weights


Model = Annotated[
    Logistic | Mlp | Cnn | Embeddings | Free | FrozenBackbone | Lora,
    Field(discriminator="family"),
]


def plan_model(graph: Graph, columns: Sequence[InputColumn], normalised: Sequence[str]) -> Plan:
    """The plan of a model's graph over the contract's columns. Raises ``ValueError`` that begins with "model"."""
    try:
        plan = plan_graph(graph, len(columns))
        _check_whole_numbers(graph, columns, normalised)
    except ValueError as error:
        raise ValueError(f"model: {error}") from None
    return plan


def weights_of(model: Model) -> Weights | None:
    """The file of weights that a model needs beside the contract."""
    return model.weights if isinstance(model, Free | FrozenBackbone | Lora) else None


def starts_from_weights(model: Model) -> bool:
    """Whether the trained parameters start from the file of weights too."""
    return isinstance(model, Free) and model.start


def needed_tensors(model: Model, plan: Plan) -> tuple[Parameter, ...]:
    """What the file of weights must hold."""
    return plan.parameters if starts_from_weights(model) else plan.frozen


def require_weights(model: Model, plan: Plan) -> None:
    """Refuses frozen parameters of which nobody could know the values. Raises ``ValueError``."""
    if plan.frozen and weights_of(model) is None:
        raise ValueError(f"model.weights: {plan.frozen[0].name} is frozen, so a file of weights must be named")
    if isinstance(model, Free) and model.start and model.weights is None:
        raise ValueError("model.start: training starts from weights, so a file of weights must be named")
    if not plan.frozen and weights_of(model) is not None and not starts_from_weights(model):
        raise ValueError("model.weights: no parameter is frozen and start is false, so none is used; leave it out")
    _check_tensors(model, plan)


def _check_tensors(model: Model, plan: Plan) -> None:
    """The file holds what is needed, and nothing that the graph has no parameter for."""
    weights = weights_of(model)
    if weights is None:
        return
    found = {name: tensor.shape for name, tensor in weights.tensors.items()}
    known = {one.name: one.shape for one in plan.parameters}
    missing = [one.name for one in needed_tensors(model, plan) if one.name not in found]
    if missing:
        raise ValueError(f"model.weights: {missing[0]} is not in the file; make it with: consortia study graph")
    for name, shape in found.items():
        if known.get(name) != shape:
            raise ValueError(f"model.weights: {name[:80]} of shape {shape} is not what the graph has")


def _check_whole_numbers(graph: Graph, columns: Sequence[InputColumn], normalised: Sequence[str]) -> None:
    """An embedding reads columns of the contract, whose whole numbers are its rows."""
    nodes = {node.name: node for node in graph.nodes}
    for node in graph.nodes:
        if not isinstance(node, Embedding):
            continue
        selected = nodes.get(node.inputs[0])
        if not isinstance(selected, Select) or selected.inputs != ("features",):
            raise ValueError(f"node {node.name} (embedding): must read a select of features")
        for place in selected.columns:
            _check_whole(node, columns[place], normalised)


def _check_whole(node: Embedding, column: InputColumn, normalised: Sequence[str]) -> None:
    low, high = column.minimum, column.maximum
    if not (low.is_integer() and high.is_integer()) or high - low + 1 != node.rows:
        raise ValueError(
            f"node {node.name} (embedding): has {node.rows} rows; column {column.name} runs from {low:g} to {high:g}, "
            "it must be whole numbers, a row each"
        )
    if column.name in normalised:
        raise ValueError(f"node {node.name} (embedding): {column.name} is normalised; take it out of normalisation")


def places(columns: Sequence[InputColumn], wanted: Sequence[str], field: str) -> tuple[int, ...]:
    """Where the columns ``wanted`` stand among the contract's. Raises ``ValueError``, naming ``field``."""
    found = {column.name: place for place, column in enumerate(columns)}
    missing = [name for name in wanted if name not in found]
    if missing or len(wanted) > MAX_COLUMNS:
        raise ValueError(f"model.{field}: column {missing[0] if missing else '...'} is no feature of data")
    return tuple(found[name] for name in wanted)
