"""A graph is refused before anything is built, with the node, the figure and the bound."""

import copy
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol.errors import Malformed
from protocol.graph_plan import plan_graph
from protocol.model_graph import Graph
from tests.sample_models import EVERY_OPERATOR, FEATURES, graph, model_contract, node

LOGIT = node("logit", "linear", "features", outputs=1)
IMAGE = node("image", "reshape", "features", shape=[1, 6, 6])


def planned(*nodes: dict[str, Any], columns: int = 36) -> Any:
    return plan_graph(Graph.model_validate_json(json.dumps(graph(*nodes))), columns)


def ended(*nodes: dict[str, Any]) -> tuple[dict[str, Any], ...]:
    """The nodes, flattened and brought to one logit."""
    return (*nodes, node("flat", "flatten", nodes[-1]["name"]), node("logit", "linear", "flat", outputs=1))


def test_every_operator_has_the_shape_that_its_definition_says() -> None:
    plan = plan_graph(Graph.model_validate_json(json.dumps(EVERY_OPERATOR)), 38)
    shapes = {step.node.name: step.gives for step in plan.steps}
    assert shapes["conv"] == (4, 6, 4) and shapes["grouped"] == (4, 6, 4)
    assert shapes["most"] == (4, 6, 5) and shapes["mean"] == (4, 4, 3) and shapes["even"] == (4, 3, 1)
    assert shapes["joined"] == (4 * 30 + 48 + 12 + 3,) and shapes["rows"] == (3, 5) and shapes["met"] == (3, 10)
    lengths = {one.name: one.shape for one in plan.parameters}
    assert lengths["conv.weight"] == (4, 1, 3, 2) and lengths["grouped.weight"] == (4, 2, 1, 1)
    assert "grouped.bias" not in lengths and lengths["level.weight"] == (5,) and lengths["norm.bias"] == (4,)
    assert plan.values == sum(step_values(shape) for shape in shapes.values())
    taken = 24 * 24 + 8 * 24 + 12 * 183 + 3 * 20 + 30
    assert plan.multiplications == taken


def step_values(shape: tuple[int, ...]) -> int:
    values = 1
    for extent in shape:
        values *= extent
    return values


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        ([node("a", "relu", "b"), node("b", "relu", "a"), LOGIT], r"node a \(relu\): reads b, .* no cycles"),
        ([node("a", "relu", "a"), LOGIT], "no cycles"),
        ([node("a", "relu", "x"), LOGIT], "reads x, which is no node"),
        ([LOGIT, node("logit", "relu", "features")], "has this name"),
        ([node("features", "relu", "features")], "has this name"),
        ([node("spare", "linear", "features", outputs=3), LOGIT], "node spare .* nothing reads it"),
        ([node("logit", "linear", "features", outputs=2)], r"one logit, shape \(1\), not \(2\)"),
        ([node("a", "linear", "features", outputs=1, trained=False)], "all parameters are frozen"),
        ([node("a", "select", "features", columns=[36]), LOGIT], "column 36 is not among the 36"),
        (ended(node("a", "conv2d", "features", channels=2, kernel=[3, 3])), "reshape it first"),
        (ended(IMAGE, node("a", "conv2d", "image", channels=2, kernel=[7, 7])), "doesn't fit into"),
        (ended(IMAGE, node("a", "conv2d", "image", channels=3, kernel=[1, 1], groups=2)), "2 groups must divide"),
        (ended(IMAGE, node("a", "group_norm", "image", groups=2)), "2 groups must divide the 1"),
        (ended(node("a", "group_norm", "features", groups=36)), "make zero"),
        (ended(node("a", "layer_norm", "features", dimensions=2)), "has fewer"),
        (ended(IMAGE, node("a", "max_pool2d", "image", kernel=[2, 2], stride=[1, 1], padding=[2, 0])), "at most half"),
        (ended(IMAGE, node("a", "adaptive_avg_pool2d", "image", size=[4, 1])), "use avg_pool2d"),
        (ended(node("a", "reshape", "features", shape=[5, 7])), "35 values"),
        (ended(IMAGE, node("a", "add", "image", "features")), "one shape"),
        (ended(IMAGE, node("a", "concat", "image", "features")), "differ in axis 0 only"),
        (ended(IMAGE, node("a", "embedding", "image", rows=3, width=2)), r"of shape \(k\)"),
    ],
)
def test_a_graph_that_does_not_fit_together_is_refused_with_the_node_named(nodes: Any, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        planned(*nodes)


def test_a_graph_beyond_a_bound_is_refused_before_anything_is_built() -> None:
    wide = node("wide", "linear", "features", outputs=1 << 20)
    with pytest.raises(ValueError, match=r"node more \(linear\): .* parameters up to here, at most 100000000"):
        planned(*ended(wide, node("more", "linear", "wide", outputs=1 << 20)))
    many = [
        node(f"n{place}", "concat", *(["features"] * 64 if not place else [f"n{place - 1}"] * 64)) for place in (0, 1)
    ]
    with pytest.raises(ValueError, match=r"along axis 0, at most"):
        planned(*ended(*many, node("n2", "concat", *["n1"] * 64)))
    grown = [node("n0", "concat", *["features"] * 64), node("n1", "concat", *["n0"] * 64)]
    with pytest.raises(ValueError, match=r"values for one record up to here, at most 4194304"):
        planned(
            *ended(*grown, *(node(f"m{place}", "relu", "n1" if not place else f"m{place - 1}") for place in range(40)))
        )
    slow = node("slow", "conv2d", "large", channels=64, kernel=[64, 64], padding=[32, 32])
    with pytest.raises(ValueError, match=r"multiplications for one record up to here, at most 2000000000"):
        planned(*ended(node("large", "reshape", "features", shape=[1, 100, 100]), slow), columns=10_000)
    tall = [node(f"n{place}", "layer_norm", "features" if not place else f"n{place - 1}") for place in range(201)]
    with pytest.raises(ValueError, match="404 trained tensors, at most 400"):
        planned(*ended(*tall))


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"operator": "batch_norm"}, "operator"),
        ({"operator": "linear", "outputs": 1, "code": "import os"}, "code"),
        ({"operator": "linear", "outputs": 1 << 21}, "outputs"),
        ({"operator": "linear", "outputs": 0}, "outputs"),
        ({"operator": "linear", "outputs": "1"}, "outputs"),
        ({"operator": "linear", "outputs": 1, "name": "__class__"}, "name"),
        ({"operator": "scale", "factor": 1e300}, "factor"),
        ({"operator": "linear", "outputs": 1, "inputs": ["features", "features"]}, "inputs"),
    ],
)
def test_what_is_no_listed_operator_with_its_own_attributes_is_refused(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        Graph.model_validate_json(json.dumps(graph({"name": "a", "inputs": ["features"], **change})))


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_graph_with_something_changed_is_planned_or_refused_and_never_anything_else(data: st.DataObject) -> None:
    value = copy.deepcopy(EVERY_OPERATOR)
    spot = value["nodes"][data.draw(st.integers(0, len(value["nodes"]) - 1))]
    key = data.draw(st.sampled_from(sorted(spot)))
    names = [one["name"] for one in value["nodes"]] + ["features"]
    operators = [one["operator"] for one in value["nodes"]]
    number = st.integers(-1, 1 << 21)
    spot[key] = data.draw(
        st.sampled_from(operators)
        | number
        | st.lists(number, max_size=4)
        | st.lists(st.sampled_from(names), max_size=3)
    )
    try:
        plan = plan_graph(Graph.model_validate_json(json.dumps(value)), 38)
    except ValueError:
        return
    assert plan.steps[-1].gives == (1,)


def embedding(rows: int, *columns: int, before: str = "features") -> dict[str, Any]:
    nodes = [
        node("numbers", "select", before, columns=list(columns)),
        node("table", "embedding", "numbers", rows=rows, width=2),
        node("flat", "flatten", "table"),
        node("logit", "linear", "flat", outputs=1),
    ]
    return {
        "family": "graph",
        "graph": graph(*([] if before == "features" else [node(before, "relu", "features")]), *nodes),
    }


@pytest.mark.parametrize(
    ("model", "reason"),
    [
        (embedding(6, 1), "has 6 rows; column site runs from -2 to 4"),
        (embedding(101, 0), "age is normalised; take it out"),
        (embedding(7, 1, before="other"), "must read a select of features"),
    ],
)
def test_an_embedding_reads_whole_numbers_of_the_contract_s_columns_only(model: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        model_contract(model, "table")
    assert model_contract(embedding(7, 1), "table").plan.trained[0].shape == (7, 2)
    assert FEATURES["table"][1]["minimum"] == -2.0
