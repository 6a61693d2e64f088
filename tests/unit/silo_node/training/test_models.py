"""A model is its parameter vector: one order, one beginning, the same at every silo."""

import hashlib
import math
from typing import Any

import numpy as np
import pytest
import torch
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from protocol.training_study import parameter_count
from silo_node.training import architecture
from silo_node.training.architecture import initial_runs
from silo_node.training.errors import TrainingRefused
from silo_node.training.models import build, load, logits, vector

STUDY = "ab" * 32


@pytest.mark.parametrize("hidden", [None, [8], [16, 3]])
def test_parameters_go_in_and_come_out_in_one_order(contract_of: Any, hidden: list[int] | None) -> None:
    contract = contract_of(hidden)
    parameters = np.arange(parameter_count(contract), dtype=np.float64)
    model = build(contract, parameters)
    assert np.array_equal(vector(model), parameters)
    first = next(model.parameters())
    # Row by row: output 0's weights for all inputs come first.
    assert first[0].tolist() == [0.0, 1.0, 2.0, 3.0]


def test_logits_are_the_formula_of_the_family(contract_of: Any) -> None:
    contract = contract_of([5, 3])
    draw = np.random.default_rng(2)
    parameters, inputs = draw.normal(size=parameter_count(contract)), draw.normal(size=(9, 4))
    value, at = inputs, 0
    for place, (size, outputs) in enumerate(((4, 5), (5, 3), (3, 1))):
        weights = parameters[at : at + size * outputs].reshape(outputs, size)
        at += size * outputs
        value = value @ weights.T + parameters[at : at + outputs]
        at += outputs
        value = value if place == 2 else np.maximum(value, 0)
    assert np.allclose(logits(contract, parameters, inputs), value[:, 0], rtol=1e-12)


def test_no_rows_have_no_logits(contract_of: Any) -> None:
    contract = contract_of([5])
    assert logits(contract, np.zeros(parameter_count(contract)), np.zeros((0, 4))).shape == (0,)


def initial_parameters(contract: Any, study: str) -> np.ndarray:
    return np.concatenate(list(initial_runs(contract, study)))


def test_where_training_starts_is_never_held_whole_and_its_runs_do_not_show(
    contract_of: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = contract_of([64, 32])
    whole = initial_parameters(contract, STUDY)
    monkeypatch.setattr(architecture, "_RUN", 7)
    assert max(run.size for run in initial_runs(contract, STUDY)) == 7
    assert initial_parameters(contract, STUDY).tobytes() == whole.tobytes()


def test_logistic_regression_starts_at_zero(contract_of: Any) -> None:
    assert not initial_parameters(contract_of(), STUDY).any()


def test_an_mlp_starts_from_the_study_s_digest_alone(contract_of: Any) -> None:
    contract = contract_of([64, 32])
    torch.manual_seed(1)
    one = initial_parameters(contract, STUDY)
    torch.manual_seed(2)
    assert initial_parameters(contract, STUDY).tobytes() == one.tobytes()
    assert initial_parameters(contract, "cd" * 32).tobytes() != one.tobytes()


def test_an_mlp_starts_at_the_same_bytes_on_every_machine(contract_of: Any) -> None:
    start = initial_parameters(contract_of([64, 32]), STUDY)
    digest = hashlib.sha256(start.astype("<f8").tobytes()).hexdigest()
    assert digest == "2455174ea7483ccd51a2cee3946318224ea5c18d4b0d7cb98ab9e30187213f95"


def test_an_mlp_s_first_weights_follow_from_the_documented_stream(contract_of: Any) -> None:
    key = hashlib.sha256(b"consortia/initial/v1\x00" + bytes.fromhex(STUDY)).digest()
    # Counter mode is the block cipher over 0, 1, 2...: told here without the mode.
    blocks = Cipher(algorithms.AES256(key), modes.ECB()).encryptor()  # noqa: S305
    stream = b"".join(blocks.update(number.to_bytes(16, "big")) for number in range(3))
    words = [int.from_bytes(stream[at : at + 8], "little") >> 11 for at in range(0, 48, 8)]
    expected = [(word / 2**52 - 1) * math.sqrt(6 / 4) for word in words]
    assert initial_parameters(contract_of([64, 32]), STUDY)[:6].tolist() == expected


def test_an_mlp_starts_as_he_et_al_advise(contract_of: Any) -> None:
    start = initial_parameters(contract_of([256, 128]), STUDY)
    first, bound = start[: 4 * 256], math.sqrt(6 / 4)
    assert -bound <= first.min() < -0.95 * bound
    assert 0.95 * bound < first.max() < bound
    assert not start[4 * 256 : 5 * 256].any()
    second = start[5 * 256 : 5 * 256 + 256 * 128]
    assert second.std() == pytest.approx(math.sqrt(2 / 256), rel=0.03)


@pytest.mark.parametrize("parameters", [np.zeros(4), np.zeros(6), np.zeros(5, dtype=np.float32), np.zeros((5, 1))])
def test_a_vector_that_does_not_fit_is_refused(contract_of: Any, parameters: Any) -> None:
    model = build(contract_of(), np.zeros(5))
    with pytest.raises(TrainingRefused, match="5 in float64"):
        load(model, parameters)
