"""A round of training: weighted, repeatable, and silent about the rows."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from protocol.errors import Malformed
from protocol.study import study_id
from silo_node.training.errors import TrainingRefused
from silo_node.training.models import logits
from silo_node.training.noise import SeededNoise, SystemNoise
from silo_node.training.rows import TrainingRows, standardised
from silo_node.training.state import StudyState
from silo_node.training.trainer import train_round
from tests.whole_states import initial_state, streamed_update

pytestmark = pytest.mark.filterwarnings("ignore::silo_node.training.noise.InsecureNoiseWarning")

SILOS = ("north", "south", "west")


def start(contract: Any) -> StudyState:
    return initial_state(contract, study_id(contract))


@pytest.mark.parametrize("hidden", [None, [16, 8]])
def test_the_same_noise_gives_the_same_bytes(contract_of: Any, rows_of: Any, hidden: list[int] | None) -> None:
    contract = contract_of(hidden, sampling_rate=0.5)
    runs = [train_round(contract, "north", rows_of(100), start(contract), SeededNoise(b"s")) for _ in range(2)]
    other = train_round(contract, "north", rows_of(100), start(contract), SeededNoise(b"t"))
    assert runs[0].vector.tobytes() == runs[1].vector.tobytes() != other.vector.tobytes()
    assert runs[0].vector.shape == start(contract).parameters.shape


def test_an_update_is_the_silos_weight_times_what_it_moved(contract_of: Any, rows_of: Any, noiseless: Any) -> None:
    contract = contract_of()
    moved = {silo: train_round(contract, silo, rows_of(80), start(contract), noiseless).vector for silo in SILOS}
    assert np.allclose(moved["north"] / 0.5, moved["west"] / 0.2, rtol=1e-12)
    assert float(np.abs(moved["north"]).max()) > 0


@pytest.mark.parametrize("rows", [0, 1, 500])
def test_the_steps_run_are_the_contracts_whatever_the_rows(contract_of: Any, rows_of: Any, rows: int) -> None:
    contract = contract_of(sampling_rate=0.01)
    update = train_round(contract, "south", rows_of(rows), start(contract), SystemNoise())
    assert update.steps_run == contract.training.local_steps == 3
    assert bool(np.isfinite(update.vector).all())


@pytest.mark.parametrize("hidden", [None, [8]])
def test_a_row_with_a_missing_value_counts_as_absent(
    contract_of: Any, rows_of: Any, noiseless: Any, hidden: list[int] | None
) -> None:
    contract, rows = contract_of(hidden), rows_of(40)
    features = rows.features.copy()
    features[7, 2] = math.nan
    holed = train_round(contract, "north", replace(rows, features=features), start(contract), noiseless)
    without = TrainingRows(np.delete(rows.features, 7, 0), np.delete(rows.target, 7))
    absent = train_round(contract, "north", without, start(contract), noiseless)
    assert np.allclose(holed.vector, absent.vector, rtol=0, atol=1e-12)


def test_values_out_of_the_declared_range_are_clamped_infinite_ones_too(
    contract_of: Any, rows_of: Any, noiseless: Any
) -> None:
    contract, rows = contract_of(), rows_of(40)
    updates = []
    for value in (1.0, 50.0, math.inf):
        features = rows.features.copy()
        features[7, 2] = value
        updates.append(train_round(contract, "north", replace(rows, features=features), start(contract), noiseless))
    assert updates[0].vector.tobytes() == updates[1].vector.tobytes() == updates[2].vector.tobytes()


@pytest.mark.parametrize("hidden", [None, [16]])
def test_three_silos_learn_together_what_can_be_learnt(
    contract_of: Any, rows_of: Any, noiseless: Any, hidden: list[int] | None
) -> None:
    contract = contract_of(hidden, rounds=10, local_steps=10, learning_rate=2.0)
    state, silos = start(contract), {silo: rows_of(225, seed) for seed, silo in enumerate(SILOS)}
    for _ in range(10):
        total = sum(train_round(contract, silo, rows, state, noiseless).vector for silo, rows in silos.items())
        wide = replace(state, exponents=(6,) * len(state.exponents))
        state = streamed_update(contract, wide, state.rounds + 1, np.asarray(total), SILOS)
    unseen = rows_of(1000, 99)
    inputs = standardised(contract, unseen.features, state.mean, state.deviation)
    right = (logits(contract, state.released_parameters, inputs) > 0) == (unseen.target > 0.5)
    assert right.mean() > 0.93


def test_a_plan_beyond_the_charged_sensitivity_is_refused(contract_of: Any, rows_of: Any) -> None:
    contract = contract_of(rows=20_000)
    with pytest.raises(TrainingRefused, match="at most 10000"):
        train_round(contract, "north", rows_of(3), start(contract), SystemNoise())


def test_more_rows_than_float64_sums_exactly_enough_are_refused(contract_of: Any) -> None:
    rows = TrainingRows(np.zeros((250_001, 4)), np.zeros(250_001))
    contract = contract_of()
    with pytest.raises(TrainingRefused, match="250000"):
        train_round(contract, "north", rows, start(contract), SystemNoise())


def test_a_silo_that_the_contract_does_not_name_cannot_train(contract_of: Any, rows_of: Any) -> None:
    contract = contract_of()
    with pytest.raises(Malformed, match="not named"):
        train_round(contract, "elsewhere", rows_of(3), start(contract), SystemNoise())


def test_a_model_that_diverges_is_never_sealed(contract_of: Any, rows_of: Any) -> None:
    contract = contract_of(learning_rate=100.0, weight_decay=1.0, local_steps=200, noise_multiplier=500.0)
    with pytest.raises(TrainingRefused, match="diverged"):
        train_round(contract, "north", rows_of(10), start(contract), SystemNoise())


@pytest.mark.parametrize(
    ("features", "target"),
    [
        (np.zeros((3, 4), dtype=np.float32), np.zeros(3)),
        (np.zeros((3, 4)), np.zeros(2)),
        (np.zeros(3), np.zeros(3)),
        (np.zeros((3, 4)), np.zeros(3, dtype=np.int64)),
    ],
)
def test_rows_of_another_shape_or_type_are_refused(features: Any, target: Any) -> None:
    with pytest.raises(TrainingRefused, match="rows"):
        TrainingRows(features, target)


def test_rows_with_another_number_of_features_are_refused(contract_of: Any) -> None:
    contract = contract_of()
    with pytest.raises(TrainingRefused, match="4 features"):
        train_round(contract, "north", TrainingRows(np.zeros((3, 5)), np.zeros(3)), start(contract), SystemNoise())


def test_every_step_samples_at_the_contracts_rate_and_is_noised_by_the_contracts_deviation(
    contract_of: Any, rows_of: Any
) -> None:
    asked: list[tuple[str, float]] = []

    class Watching:
        def add_gaussian(self, sums: Any, deviation: float, step: float) -> Any:
            asked.append(("noise", deviation))
            return sums

        def included(self, rows: int, rate: float) -> Any:
            asked.append(("sample", rate))
            return np.zeros(rows, dtype=np.bool_)

    contract = contract_of(sampling_rate=0.37, clip=0.5, noise_multiplier=6.0)
    train_round(contract, "north", rows_of(20), start(contract), Watching())
    # Three steps, each one sample and noise on weights and biases: multiplier times clip.
    assert asked == 3 * [("sample", 0.37), ("noise", 3.0), ("noise", 3.0)]


@pytest.mark.parametrize("hidden", [None, [8, 5]])
@pytest.mark.parametrize("value", [1e-3, 0.7, 1e8, math.inf, math.nan])
@pytest.mark.parametrize("target", [0.0, 1.0, 1e8, math.nan])
def test_one_person_moves_what_is_sealed_by_no_more_than_is_charged(
    contract_of: Any, rows_of: Any, hidden: list[int] | None, value: float, target: float
) -> None:
    contract, rows = contract_of(hidden, local_steps=1, clip=0.1), rows_of(60)
    more = TrainingRows(np.vstack([rows.features, np.full((1, 4), value)]), np.append(rows.target, target))
    one, other = (
        train_round(contract, "north", held, start(contract), SeededNoise(b"the same noise")).vector
        for held in (rows, more)
    )
    # Weight .5 and learning rate .5 over a normaliser of 225, times the clip.
    assert float(np.linalg.norm(one - other)) <= 0.5 * 0.5 / 225 * 0.1 * (1 + 1e-5)
