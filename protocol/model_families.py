"""Each family of models as a graph. Names of nodes are part of the protocol: released tensors bear them."""

from collections.abc import Iterator, Sequence
from typing import Final

from protocol.graph_plan import plan_values
from protocol.model import (
    Cnn,
    Embedded,
    Embeddings,
    Free,
    FrozenBackbone,
    Image,
    InputColumn,
    Logistic,
    Lora,
    Mlp,
    Model,
    places,
)
from protocol.model_graph import (
    FEATURES,
    MAX_NODES,
    Add,
    Concat,
    Conv2d,
    Embedding,
    Flatten,
    Graph,
    GroupNorm,
    Linear,
    MaxPool2d,
    Node,
    Relu,
    Reshape,
    Scale,
    Select,
)

_COLOURS: Final = {1: ("",), 3: ("_red", "_green", "_blue")}


def graph_of(model: Model, columns: Sequence[InputColumn]) -> Graph:
    """The graph of a model over these columns. Raises ``ValueError`` where it names what isn't there."""
    match model:
        case Logistic():
            return _graph([Linear(name="layer0", operator="linear", inputs=(FEATURES,), outputs=1, start="zero")])
        case Mlp():
            return _graph(_layers(FEATURES, model.hidden))
        case Cnn():
            return _graph(_cnn(model, columns))
        case Embeddings():
            return _graph(_embeddings(model, columns))
        case FrozenBackbone():
            return _graph(_with_head(model, len(columns)))
        case Lora():
            return _graph(_adapted(model))
        case Free():
            return model.graph


def _graph(nodes: Sequence[Node] | Iterator[Node]) -> Graph:
    held = tuple(nodes)
    if len(held) > MAX_NODES:
        raise ValueError(f"model: its graph has {len(held)} nodes, at most {MAX_NODES} are allowed")
    return Graph(format="consortia-graph/1", nodes=held)


def _layers(before: str, hidden: Sequence[int]) -> Iterator[Node]:
    """``layer0``, ``relu0``, ``layer1``...: linear layers to one logit."""
    for place, outputs in enumerate((*hidden, 1)):
        yield Linear(name=f"layer{place}", operator="linear", inputs=(before,), outputs=outputs)
        if place < len(hidden):
            before = f"relu{place}"
            yield Relu(name=before, operator="relu", inputs=(f"layer{place}",))


def _cnn(model: Cnn, columns: Sequence[InputColumn]) -> Iterator[Node]:
    pixels = places(columns, _pixels(model.image), "image")
    others = sorted(set(range(len(columns))) - set(pixels))
    yield Select(name="pixels", operator="select", inputs=(FEATURES,), columns=pixels)
    shape = (model.image.channels, model.image.height, model.image.width)
    yield Reshape(name="image", operator="reshape", inputs=("pixels",), shape=shape)
    before = "image"
    for place, block in enumerate(model.blocks):
        conv, norm, relu, pool = (f"{kind}{place}" for kind in ("conv", "norm", "active", "pool"))
        around = block.kernel // 2
        yield Conv2d(
            name=conv,
            operator="conv2d",
            inputs=(before,),
            channels=block.channels,
            kernel=(block.kernel, block.kernel),
            padding=(around, around),
        )
        yield GroupNorm(name=norm, operator="group_norm", inputs=(conv,), groups=block.groups)
        yield Relu(name=relu, operator="relu", inputs=(norm,))
        before = relu
        if block.pool > 1:
            window = (block.pool, block.pool)
            yield MaxPool2d(name=pool, operator="max_pool2d", inputs=(relu,), kernel=window, stride=window)
            before = pool
    yield Flatten(name="flat", operator="flatten", inputs=(before,))
    before = "flat"
    if others:
        yield Select(name="others", operator="select", inputs=(FEATURES,), columns=tuple(others))
        yield Concat(name="joined", operator="concat", inputs=("flat", "others"))
        before = "joined"
    yield from _layers(before, model.hidden)


def _pixels(image: Image) -> list[str]:
    """Channel by channel and row by row, as a convolution reads them; columns stand pixel by pixel."""
    return [
        f"{image.column}{colour}_y{y}_x{x}"
        for colour in _COLOURS[image.channels]
        for y in range(image.height)
        for x in range(image.width)
    ]


def _embeddings(model: Embeddings, columns: Sequence[InputColumn]) -> Iterator[Node]:
    taken: set[int] = set()
    parts = []
    for number, one in enumerate(model.embedded):
        found = places(columns, one.columns, "embedded")
        if taken & set(found) or len(set(found)) != len(found):
            raise ValueError(f"model.embedded: {one.columns[0]} is of two; each column may stand in one")
        taken |= set(found)
        yield from _embedding(number, one, found, columns)
        parts.append(f"value{number}")
    others = sorted(set(range(len(columns))) - taken)
    if others:
        yield Select(name="others", operator="select", inputs=(FEATURES,), columns=tuple(others))
        parts.append("others")
    if len(parts) > 1:
        yield Concat(name="joined", operator="concat", inputs=tuple(parts))
    yield from _layers("joined" if len(parts) > 1 else parts[0], model.hidden)


def _embedding(number: int, one: Embedded, found: tuple[int, ...], columns: Sequence[InputColumn]) -> Iterator[Node]:
    """A table read by a whole number; of a category's yes/no columns the same is a linear layer on zeros and a one."""
    select, table, value = f"column{number}", f"table{number}", f"value{number}"
    yield Select(name=select, operator="select", inputs=(FEATURES,), columns=found)
    if len(found) > 1:
        # Columns reach a model in [-1, 1].
        yield Scale(name=f"choice{number}", operator="scale", inputs=(select,), factor=0.5, offset=0.5)
        yield Linear(name=value, operator="linear", inputs=(f"choice{number}",), outputs=one.width, bias=False)
        return
    column = columns[found[0]]
    rows = column.maximum - column.minimum + 1
    if not rows.is_integer() or not 2 <= rows <= 100_000:
        raise ValueError(
            f"model.embedded: column {column.name} has no 2 to 100000 whole numbers from {column.minimum:g} to "
            f"{column.maximum:g}"
        )
    yield Embedding(name=table, operator="embedding", inputs=(select,), rows=int(rows), width=one.width)
    yield Flatten(name=value, operator="flatten", inputs=(table,))


def _with_head(model: FrozenBackbone, columns: int) -> Iterator[Node]:
    try:
        backbone = plan_values(model.backbone, columns)
    except ValueError as error:
        raise ValueError(f"model.backbone: {error}") from None
    for step in backbone.steps:
        if step.node.name in ("backbone_flat", "head"):
            raise ValueError(f"model.backbone: node {step.node.name}: the layer behind it has this name; rename it")
        yield _frozen(step.node)
    before = backbone.steps[-1].node.name
    if len(backbone.steps[-1].gives) > 1:
        yield Flatten(name="backbone_flat", operator="flatten", inputs=(before,))
        before = "backbone_flat"
    yield Linear(name="head", operator="linear", inputs=(before,), outputs=1, start="zero")


def _adapted(model: Lora) -> Iterator[Node]:
    linear = {node.name for node in model.graph.nodes if isinstance(node, Linear)}
    wrong = [name for name in model.adapted if name not in linear]
    if wrong or len(set(model.adapted)) != len(model.adapted):
        raise ValueError(f"model.adapted: must be distinct linear nodes of the graph; not one: {wrong}")
    renamed: dict[str, str] = {}
    for node in model.graph.nodes:
        read = tuple(renamed.get(name, name) for name in node.inputs)
        yield _frozen(node.model_copy(update={"inputs": read}))
        if node.name in model.adapted and isinstance(node, Linear):
            yield from _low_rank(model, node, read[0])
            renamed[node.name] = _part(node.name, "adapted")


def _low_rank(model: Lora, node: Linear, before: str) -> Iterator[Node]:
    down, up, scaled = (_part(node.name, part) for part in ("lora_a", "lora_b", "lora"))
    yield Linear(name=down, operator="linear", inputs=(before,), outputs=model.rank, bias=False)
    yield Linear(name=up, operator="linear", inputs=(down,), outputs=node.outputs, bias=False, start="zero")
    yield Scale(name=scaled, operator="scale", inputs=(up,), factor=model.scale / model.rank)
    yield Add(name=_part(node.name, "adapted"), operator="add", inputs=(node.name, scaled))


def _part(name: str, part: str) -> str:
    return f"{name[:50]}_{part}"


def _frozen(node: Node) -> Node:
    frozen: Node = node.model_copy(update={"trained": False}) if "trained" in type(node).model_fields else node
    return frozen
