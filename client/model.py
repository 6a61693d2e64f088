"""A released model as something to use: reference arithmetic in NumPy, and the same as an ONNX graph.

Input: raw features in the contract's order and units. Each is clamped to its column's range, mapped to [-1, 1],
the normalised ones standardised; then the contract's graph; the sigmoid of its one logit.
"""

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from client.bundle import Bundle, Floats
from client.graph_arithmetic import logits, sigmoid
from client.graph_onnx import GraphWriter

OPSET: Final = 17
IR_VERSION: Final = 8


def probabilities(bundle: Bundle, features: NDArray[np.floating]) -> Floats:
    """P(target) (n,) for raw ``features`` (n, d). The reference that the ONNX graph is tested against."""
    low, high, middle, half = _ranges(bundle)
    shift, scale = _standard(bundle)
    values = ((np.clip(features.astype(np.float64), low, high) - middle) / half - shift) / scale
    return sigmoid(logits(bundle.contract.plan, bundle.tensors, values))


def to_onnx(bundle: Bundle) -> bytes:
    """An ONNX model: ``features`` float32 (n, d) raw -> ``probability`` float32 (n,). Computes in float64 inside.

    Checked by ``onnx.checker`` before it is returned.
    """
    columns = bundle.contract.data.features
    low, high, middle, half = _ranges(bundle)
    shift, scale = _standard(bundle)
    writer = GraphWriter(bundle.tensors)
    inputs = _standardised(writer, (low, high, middle, half, shift, scale))
    logit = writer.write(bundle.contract.plan, inputs)
    axis = writer.constant("output:axis", np.array([1], dtype=np.int64))
    flat = writer.node("Squeeze", [writer.node("Sigmoid", [logit], "output:exact"), axis], "output:flat")
    writer.node("Cast", [flat], "probability", to=TensorProto.FLOAT)
    graph = helper.make_graph(
        writer.nodes,
        "consortia",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", len(columns)])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows"])],
        [numpy_helper.from_array(value, name) for name, value in writer.constants.items()],
        doc_string="Raw features, in order: " + ", ".join(column.name for column in columns),
    )
    return _serialised(graph, bundle.study)


def _standardised(writer: GraphWriter, ends: tuple[Floats, ...]) -> str:
    """Nodes from raw ``features`` to the model's inputs; the name of these."""
    names = ("low", "high", "middle", "half", "shift", "deviation")
    for name, end in zip(names, ends, strict=True):
        writer.constant(f"input:{name}", end)
    value = writer.node("Cast", ["features"], "input:raw", to=TensorProto.DOUBLE)
    for operator, name in zip(("Max", "Min", "Sub", "Div", "Sub", "Div"), names, strict=True):
        value = writer.node(operator, [value, f"input:{name}"], f"input:after_{name}")
    return value


def _serialised(graph: onnx.GraphProto, study: str) -> bytes:
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], producer_name="consortia")
    model.ir_version = IR_VERSION
    helper.set_model_props(model, {"consortia.study": study})
    checker.check_model(model, full_check=True)
    data: bytes = model.SerializeToString()
    return data


def _ranges(bundle: Bundle) -> tuple[Floats, Floats, Floats, Floats]:
    """Minimum, maximum, middle and half width of each feature's range, each (d,)."""
    low = np.array([column.minimum for column in bundle.contract.data.features])
    high = np.array([column.maximum for column in bundle.contract.data.features])
    return low, high, low / 2 + high / 2, high / 2 - low / 2


def _standard(bundle: Bundle) -> tuple[Floats, Floats]:
    """What is taken from each mapped feature, and what it is divided by (d,): 0 and 1 where not normalised."""
    names = [column.name for column in bundle.contract.data.features]
    shift, scale = np.zeros(len(names)), np.ones(len(names))
    places = [names.index(name) for name in bundle.contract.normalisation.columns]
    shift[places], scale[places] = bundle.mean, bundle.std
    return shift, scale
