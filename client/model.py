"""A released model as something to use: reference arithmetic in NumPy, and the same as an ONNX graph.

Input: raw features in the contract's order and units. Each is clamped to its column's range, mapped to [-1, 1],
the normalised ones standardised; then linear layers with ReLU between them; the sigmoid of the one logit.
"""

from typing import Final

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, checker, helper, numpy_helper

from client.bundle import Bundle, Floats

OPSET: Final = 17
IR_VERSION: Final = 8


def probabilities(bundle: Bundle, features: NDArray[np.floating]) -> Floats:
    """P(target) (n,) for raw ``features`` (n, d). The reference that the ONNX graph is tested against."""
    low, high, middle, half = _ranges(bundle)
    shift, scale = _standard(bundle)
    values = ((np.clip(features.astype(np.float64), low, high) - middle) / half - shift) / scale
    for layer in bundle.layers[:-1]:
        values = np.maximum(values @ layer.weight.T + layer.bias, 0.0)
    last = bundle.layers[-1]
    logit = (values @ last.weight.T + last.bias)[:, 0]
    # Two branches of one function: exp never overflows.
    small = np.exp(-np.abs(logit))
    answer: Floats = np.where(logit >= 0, 1.0, small) / (1.0 + small)
    return answer


def to_onnx(bundle: Bundle) -> bytes:
    """An ONNX model: ``features`` float32 (n, d) raw -> ``probability`` float32 (n,). Computes in float64 inside.

    Checked by ``onnx.checker`` before it is returned.
    """
    columns = bundle.contract.data.features
    low, high, middle, half = _ranges(bundle)
    shift, scale = _standard(bundle)
    constants: dict[str, NDArray[np.generic]] = {
        "low": low,
        "high": high,
        "middle": middle,
        "half": half,
        "shift": shift,
        "scale": scale,
    }
    nodes = [
        helper.make_node("Cast", ["features"], ["raw"], to=TensorProto.DOUBLE),
        helper.make_node("Max", ["raw", "low"], ["above"]),
        helper.make_node("Min", ["above", "high"], ["clamped"]),
        helper.make_node("Sub", ["clamped", "middle"], ["centred"]),
        helper.make_node("Div", ["centred", "half"], ["mapped"]),
        helper.make_node("Sub", ["mapped", "shift"], ["shifted"]),
        helper.make_node("Div", ["shifted", "scale"], ["inputs0"]),
    ]
    for index, layer in enumerate(bundle.layers):
        constants |= {f"layer{index}.weight": layer.weight, f"layer{index}.bias": layer.bias}
        names = [f"inputs{index}", f"layer{index}.weight", f"layer{index}.bias"]
        nodes.append(helper.make_node("Gemm", names, [f"linear{index}"], transB=1))
        if index + 1 < len(bundle.layers):
            nodes.append(helper.make_node("Relu", [f"linear{index}"], [f"inputs{index + 1}"]))
    constants["last_axis"] = np.array([1], dtype=np.int64)
    nodes += [
        helper.make_node("Sigmoid", [f"linear{len(bundle.layers) - 1}"], ["exact"]),
        helper.make_node("Squeeze", ["exact", "last_axis"], ["flat"]),
        helper.make_node("Cast", ["flat"], ["probability"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        "consortia",
        [helper.make_tensor_value_info("features", TensorProto.FLOAT, ["rows", len(columns)])],
        [helper.make_tensor_value_info("probability", TensorProto.FLOAT, ["rows"])],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
        doc_string="Raw features, in order: " + ", ".join(column.name for column in columns),
    )
    return _serialised(graph, bundle.study)


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
