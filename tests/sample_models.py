"""Contracts of every family of models, over a small image and a few columns, for tests."""

import base64
from typing import Any

import numpy as np
from safetensors.numpy import save

from protocol import model
from protocol.canonical import digest
from protocol.study import StudyContract, parse_contract
from tests.sample_study import contract_values

SIDE = 6
TARGET = {"name": "ill", "kind": "binary", "minimum": 0.0, "maximum": 1.0, "unit": ""}
NUMBER = {"kind": "number", "minimum": 0.0, "maximum": 100.0, "unit": ""}
PIXEL = {"kind": "number", "minimum": 0.0, "maximum": 1.0, "unit": ""}
BINARY = {"kind": "binary", "minimum": 0.0, "maximum": 1.0, "unit": ""}


def pixels(channels: int = 1) -> list[dict[str, Any]]:
    """The columns of an image ``scan``, in the order in which a dataset expands it."""
    colours = ("",) if channels == 1 else ("_red", "_green", "_blue")
    places = [(y, x) for y in range(SIDE) for x in range(SIDE)]
    return [{"name": f"scan{colour}_y{y}_x{x}", **PIXEL} for y, x in places for colour in colours]


FEATURES: dict[str, list[dict[str, Any]]] = {
    "grey": [{"name": "age", **NUMBER}, *pixels(), {"name": "chol", **NUMBER}],
    "colour": pixels(3),
    "table": [
        {"name": "age", **NUMBER},
        {"name": "site", "kind": "number", "minimum": -2.0, "maximum": 4.0, "unit": ""},
        {"name": "sex_f", **BINARY},
        {"name": "sex_m", **BINARY},
        {"name": "sex_x", **BINARY},
    ],
}


def node(name: str, operator: str, *inputs: str, **attributes: Any) -> dict[str, Any]:
    return {"name": name, "operator": operator, "inputs": list(inputs), **attributes}


def graph(*nodes: dict[str, Any]) -> dict[str, Any]:
    return {"format": "consortia-graph/1", "nodes": list(nodes)}


EVERY_OPERATOR = graph(
    node("pixels", "select", "features", columns=list(range(1, 1 + SIDE * SIDE))),
    node("image", "reshape", "pixels", shape=[1, SIDE, SIDE]),
    node("conv", "conv2d", "image", channels=4, kernel=[3, 2], stride=[1, 2], padding=[2, 1], dilation=[2, 1]),
    node("norm", "group_norm", "conv", groups=2),
    node("bent", "gelu", "norm"),
    node("grouped", "conv2d", "bent", channels=4, kernel=[1, 1], groups=2, bias=False),
    node("both", "add", "bent", "grouped"),
    node("most", "max_pool2d", "both", kernel=[3, 2], stride=[1, 1], padding=[1, 1]),
    node("mean", "avg_pool2d", "both", kernel=[2, 2], stride=[2, 1], padding=[1, 0]),
    node("even", "adaptive_avg_pool2d", "both", size=[3, 1]),
    node("flat", "flatten", "most"),
    node("means", "flatten", "mean"),
    node("evens", "flatten", "even"),
    node("numbers", "select", "features", columns=[0, 37, 0]),
    node("small", "scale", "numbers", factor=0.5, offset=-0.25),
    node("joined", "concat", "flat", "means", "evens", "small"),
    node("wide", "linear", "joined", outputs=12),
    node("table", "reshape", "wide", shape=[3, 4]),
    node("rows", "linear", "table", outputs=5),
    node("level", "layer_norm", "rows"),
    node("curve", "tanh", "level"),
    node("gate", "sigmoid", "curve"),
    node("cut", "relu", "curve"),
    node("met", "concat", "gate", "cut", axis=1),
    node("long", "flatten", "met"),
    node("logit", "linear", "long", outputs=1),
)

CNN = {
    "family": "cnn",
    "image": {"column": "scan", "width": SIDE, "height": SIDE},
    "blocks": [{"channels": 4, "groups": 2}, {"channels": 8, "kernel": 1, "pool": 1}],
    "hidden": [5],
}
EMBEDDING = {
    "family": "embedding",
    "embedded": [{"columns": ["site"], "width": 3}, {"columns": ["sex_f", "sex_m", "sex_x"], "width": 2}],
    "hidden": [6],
}


def weights_of(shapes: dict[str, tuple[int, ...]], dtype: str = "float32", seed: int = 8) -> dict[str, Any]:
    """A file of weights as a contract holds it."""
    draw = np.random.default_rng(seed)
    data = save({name: draw.normal(0, 0.7, shape).astype(dtype) for name, shape in shapes.items()})
    return {"digest": digest(data), "size": len(data), "data": base64.b64encode(data).decode()}


BACKBONE = graph(
    node("body", "linear", "features", outputs=6),
    node("cut", "relu", "body"),
    node("norm", "layer_norm", "cut"),
)
BACKBONE_SHAPES = {"body.weight": (6, 5), "body.bias": (6,), "norm.weight": (6,), "norm.bias": (6,)}
WHOLE = graph(*BACKBONE["nodes"], node("logit", "linear", "norm", outputs=1))
WHOLE_SHAPES = BACKBONE_SHAPES | {"logit.weight": (1, 6), "logit.bias": (1,)}
FROZEN = {"family": "frozen", "backbone": BACKBONE, "weights": weights_of(BACKBONE_SHAPES)}
LORA = {
    "family": "lora",
    "graph": WHOLE,
    "adapted": ["body", "logit"],
    "rank": 2,
    "scale": 4.0,
    "weights": weights_of(WHOLE_SHAPES),
}

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "logistic": ("table", {"family": "logistic"}),
    "mlp": ("table", {"family": "mlp", "hidden": [5, 4]}),
    "cnn": ("grey", CNN),
    "colour-cnn": ("colour", CNN | {"image": CNN["image"] | {"channels": 3}}),
    "embedding": ("table", EMBEDDING),
    "graph": ("grey", {"family": "graph", "graph": EVERY_OPERATOR}),
    "frozen": ("table", FROZEN),
    "lora": ("table", LORA),
}


def model_contract(model: dict[str, Any], features: str, **changes: Any) -> StudyContract:
    """A contract of a model over one of the lists of columns; ``changes`` replace whole top-level fields."""
    names = [one["name"] for one in FEATURES[features]]
    normalised = [name for name in names if name in ("age", "chol")] or names[:2]
    value = contract_values(
        data={"dataset": "heart", "features": FEATURES[features], "target": TARGET},
        normalisation={"columns": normalised, "clip": 1.5, "noise_multiplier": 6.0},
        model=model,
    )
    return parse_contract(value | changes)


def contract_named(name: str) -> StudyContract:
    features, model = MODELS[name]
    return model_contract(model, features)


def raw_rows(contract: StudyContract, count: int, seed: int = 5) -> np.ndarray:
    """Rows (n, d) in the columns' ranges; whole numbers where a range is of whole numbers below 10."""
    draw = np.random.default_rng(seed)
    columns = []
    for column in contract.data.features:
        low, high = column.minimum, column.maximum
        whole = column.kind == "binary" or column.name == "site"
        columns.append(draw.integers(low, high + 1, count) if whole else draw.uniform(low, high, count))
    return np.column_stack(columns).astype(np.float64)


def drawn_tensors(contract: StudyContract, seed: int = 6) -> dict[str, np.ndarray]:
    """Values for every parameter of the contract's model, by name; frozen ones as the contract has them."""
    draw = np.random.default_rng(seed)
    drawn = {one.name: draw.normal(0, 1.0 / np.sqrt(one.fan_in), one.shape) for one in contract.plan.parameters}
    held = model.weights_of(contract.model)
    return drawn | ({one.name: held.tensors[one.name] for one in contract.plan.frozen} if held else {})
