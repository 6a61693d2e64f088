"""Each family is a graph: its layers, its parameters, and that old contracts keep every bit of their beginning."""

import base64
import hashlib
import io
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from protocol.canonical import MAX_DOCUMENT_BYTES, digest, encode
from protocol.errors import Malformed
from protocol.model_weights import MAX_WEIGHTS_BYTES
from protocol.study import contract_value, study_id
from protocol.training_study import parameter_count, tensor_lengths
from silo_node.training.architecture import initial_runs
from silo_node.training.strategies import begin_state
from tests.sample_models import (
    CNN,
    EMBEDDING,
    FROZEN,
    LORA,
    MODELS,
    SIDE,
    WHOLE,
    WHOLE_SHAPES,
    contract_named,
    graph,
    model_contract,
    node,
    weights_of,
)
from tests.sample_study import contract

WEIGHTS = weights_of(WHOLE_SHAPES)


@pytest.mark.parametrize(
    ("model", "lengths", "study", "state"),
    [
        (
            {"family": "logistic"},
            (2, 1),
            "86e4f72a7700eca11802524fb33d1f42ee21d8243f1a475cbd7fc54c7728fece",
            "486ef3103e1f3529fd622182f7e4fce63e2eddbcfbab1e9ceff5a33b881a392d",
        ),
        (
            {"family": "mlp", "hidden": [16, 3]},
            (32, 16, 48, 3, 3, 1),
            "993517f8b3dc5072da4ee42f78d18860881b894325497d87c31cbe407bfd2777",
            "c8abbdc8091ba6ce5537037e32d1d82579fb8b87a8f5e071518453edd2ed0e41",
        ),
    ],
    ids=["logistic", "mlp"],
)
def test_a_contract_from_before_graphs_keeps_its_name_its_vector_and_its_beginning_bit_for_bit(
    model: dict[str, Any], lengths: tuple[int, ...], study: str, state: str
) -> None:
    study_contract = contract(model=model)
    assert tensor_lengths(study_contract) == lengths
    assert study_id(study_contract) == study
    begun = io.BytesIO()
    begin_state(study_contract, "ab" * 32, np.zeros(2), np.ones(2), begun, 0)
    assert hashlib.sha256(begun.getvalue()).hexdigest() == state


def test_a_cnn_has_the_parameters_that_its_blocks_say() -> None:
    convolutions = (4 * 9 + 4) + (4 + 4) + (8 * 4 + 8) + (8 + 8)
    # 6 by 6 pixels are pooled to 3 by 3, and 2 columns stand beside the image.
    head = (8 * 9 + 2) * 5 + 5 + 5 + 1
    assert parameter_count(contract_named("cnn")) == convolutions + head


def test_a_colour_image_is_read_channel_by_channel_though_its_columns_stand_pixel_by_pixel() -> None:
    plan = contract_named("colour-cnn").plan
    (select, image) = plan.steps[:2]
    assert image.gives == (3, SIDE, SIDE)
    assert list(select.node.columns[:3]) == [0, 3, 6] and select.node.columns[SIDE * SIDE] == 1


def test_a_category_is_embedded_by_its_yes_no_columns_and_whole_numbers_by_a_table() -> None:
    shapes = {one.name: one.shape for one in contract_named("embedding").plan.trained}
    assert shapes["table0.weight"] == (7, 3) and shapes["value1.weight"] == (2, 3)
    assert shapes["layer0.weight"] == (6, 3 + 2 + 1)


def test_behind_a_frozen_backbone_only_the_head_is_trained() -> None:
    study = model_contract(FROZEN, "table")
    assert [one.name for one in study.plan.trained] == ["head.weight", "head.bias"]
    assert [one.name for one in study.plan.frozen] == ["body.weight", "body.bias", "norm.weight", "norm.bias"]
    assert {one.start for one in study.plan.trained} == {"zero"}


def lora(**changes: Any) -> dict[str, Any]:
    return LORA | changes


def test_lora_trains_thin_products_beside_the_frozen_layers_that_it_names() -> None:
    plan = model_contract(lora(), "table").plan
    assert {one.name: one.shape for one in plan.trained} == {
        "body_lora_a.weight": (2, 5), "body_lora_b.weight": (6, 2),
        "logit_lora_a.weight": (2, 6), "logit_lora_b.weight": (1, 2),
    }  # fmt: skip
    assert [one.start for one in plan.trained] == ["uniform", "zero", "uniform", "zero"]
    reads = {step.node.name: step.node.inputs for step in plan.steps}
    assert reads["cut"] == ("body_adapted",) and plan.steps[-1].node.name == "logit_adapted"


@pytest.mark.parametrize(
    ("features", "model", "reason"),
    [
        ("grey", CNN | {"image": CNN["image"] | {"width": 7}}, "model.image: column scan_y0_x6 is no feature"),
        ("grey", CNN | {"blocks": [{"channels": 6, "groups": 4}]}, r"node norm0 \(group_norm\): 4 groups must divide"),
        ("grey", CNN | {"blocks": [{"channels": 4, "pool": 8}]}, "doesn't fit"),
        ("table", EMBEDDING | {"embedded": [{"columns": ["age"], "width": 2}]}, "age is normalised"),
        ("table", EMBEDDING | {"embedded": [{"columns": ["site"], "width": 2}] * 2}, "each column may stand in one"),
        ("table", EMBEDDING | {"embedded": [{"columns": ["town"], "width": 2}]}, "column town is no feature"),
        ("table", lora(adapted=["norm"]), "must be distinct linear nodes"),
        ("table", lora(weights=None), "weights"),
        ("table", lora(weights=weights_of({"body.weight": (6, 5)})), "body.bias is not in the file"),
        ("table", lora(weights=weights_of(WHOLE_SHAPES | {"body.bias": (7,)})), "body.bias of shape .* is not what"),
        ("table", lora(weights=weights_of(WHOLE_SHAPES | {"spy": (7,)})), "spy of shape .* is not what"),
        ("table", lora(weights=WEIGHTS | {"size": WEIGHTS["size"] + 1}), "not the file of this digest and size"),
        ("table", lora(weights=WEIGHTS | {"digest": "ab" * 32}), "not the file of this digest and size"),
        ("table", lora(weights=WEIGHTS | {"data": "AAA"}), "is not base64"),
        ("table", {"family": "graph", "graph": lora()["graph"], "start": True}, "a file of weights must be named"),
        ("table", {"family": "graph", "graph": lora()["graph"], "weights": WEIGHTS}, "so none is used; leave it out"),
        (
            "table",
            {
                "family": "graph",
                "graph": graph(
                    node("body", "linear", "features", outputs=2, trained=False),
                    node("logit", "linear", "body", outputs=1),
                ),
            },
            "body.weight is frozen, so a file of weights must be named",
        ),
        (
            "table",
            {"family": "frozen", "backbone": graph(node("head", "relu", "features")), "weights": WEIGHTS},
            "rename",
        ),
    ],
)
def test_a_family_that_does_not_fit_the_contract_is_refused(features: str, model: dict[str, Any], reason: str) -> None:
    with pytest.raises(Malformed, match=reason):
        model_contract(model, features)


@pytest.mark.parametrize("name", MODELS)
def test_a_changed_copy_of_a_contract_has_a_plan_of_its_own(name: str) -> None:
    study = contract_named(name)
    assert study.plan is study.plan
    other = study.model_copy(update={"model": contract_named("logistic").model})
    assert [one.name for one in other.plan.trained] == ["layer0.weight", "layer0.bias"]


@pytest.mark.parametrize("magic", [b"PK\x03\x04", b"\x80\x04\x95", b"\x1f\x8b"])
def test_an_archive_in_a_contract_s_weights_is_refused_and_never_opened(magic: bytes) -> None:
    data = magic + bytes(200)
    offered = {"digest": digest(data), "size": len(data), "data": base64.b64encode(data).decode()}
    with pytest.raises(Malformed, match=r"weights.data.*(none is ever opened|is not JSON)"):
        model_contract(lora(weights=offered), "table")


def test_the_largest_weights_fit_a_document_of_the_protocol() -> None:
    features = 5
    outputs = (MAX_WEIGHTS_BYTES - 2048) // 4 // (features + 1)
    backbone = graph(node("body", "linear", "features", outputs=outputs))
    weights = weights_of({"body.weight": (outputs, features), "body.bias": (outputs,)})
    study = model_contract({"family": "frozen", "backbone": backbone, "weights": weights}, "table")
    assert MAX_WEIGHTS_BYTES - 4096 < weights["size"] <= MAX_WEIGHTS_BYTES
    assert len(encode(contract_value(study))) < MAX_DOCUMENT_BYTES / 2
    over = weights_of({"body.weight": (outputs + 200, features), "body.bias": (outputs + 200,)})
    with pytest.raises(Malformed, match=r"weights\.size"):
        model_contract({"family": "frozen", "backbone": backbone, "weights": over}, "table")


def test_training_starts_from_the_contract_s_weights_where_it_says_so() -> None:
    weights = weights_of(WHOLE_SHAPES)
    model = {"family": "graph", "graph": WHOLE, "weights": weights, "start": True}
    study = model_contract(model, "table")
    start = np.concatenate(list(initial_runs(study, "ab" * 32)))
    held = safetensors.numpy.load(base64.b64decode(weights["data"]))
    expected = np.concatenate([held[one.name].astype(np.float64).ravel() for one in study.plan.trained])
    assert start.tobytes() == expected.tobytes()


@pytest.mark.parametrize("name", MODELS)
def test_two_readings_of_a_contract_are_equal_and_others_are_not(name: str) -> None:
    one, other = contract_named(name), contract_named(name)
    assert one == other and one.plan == other.plan
    assert one != one.model_copy(update={"title": "Another"})


def test_weights_of_one_size_that_differ_make_contracts_that_differ() -> None:
    assert contract_named("lora") != model_contract(lora(weights=weights_of(WHOLE_SHAPES, seed=9)), "table")
