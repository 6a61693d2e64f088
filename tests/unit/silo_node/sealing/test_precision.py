"""What rounding costs beside the noise that privacy costs, and what a silo that lies can do to the scale."""

import io
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.cohorts.heart import heart_contract
from protocol.precision import resolved
from protocol.sealing.decode import MAX_STEP, Segment
from protocol.study import StudyContract, study_id
from protocol.training_study import tensor_lengths
from silo_node.sealing.quantise import quantise
from silo_node.training.state import StateFile
from silo_node.training.strategies import training_segments
from tests.whole_states import initial_state, state_bytes, streamed_update

ROWS = {"cleveland": 303, "hungarian": 294, "switzerland": 123, "va-long-beach": 200}
DRAWS = 40_000


def contract_at(per_slot: int, epsilon: float = 5.0) -> StudyContract:
    contract = heart_contract(epsilon, ROWS)
    return contract.model_copy(update={"sealing": contract.sealing.model_copy(update={"values_per_slot": per_slot})})


def levels_and_back(values: np.ndarray, exponent: int, bits: int) -> np.ndarray:
    levels = quantise(values, [Segment(values.size, exponent)], bits, np.random.default_rng(3).random)
    back: np.ndarray = (2.0 * levels.astype(np.float64) / (2**bits - 1) - 1.0) * 2.0**exponent
    return back


def noises(contract: StudyContract) -> list[tuple[float, int]]:
    """(deviation of a silo's noise, first exponent) of each kind of vector, at the silo that adds the least."""
    training, sealing = contract.training, contract.sealing
    a_step = training.learning_rate * training.noise_multiplier * training.clip
    least = min(one.weight * a_step * math.sqrt(training.local_steps) / one.normaliser for one in contract.silos)
    return [
        (contract.normalisation.noise_multiplier * contract.normalisation.clip, sealing.normalisation_exponent),
        (least, sealing.training_exponent),
        (contract.evaluation.noise_multiplier, sealing.evaluation_exponent),
    ]


def worst_share(per_slot: int, epsilon: float) -> float:
    """The largest rms of the rounding error over the rms of the noise, over the vectors of all kinds of rounds."""
    contract = contract_at(per_slot, epsilon)
    _, bits = resolved(contract.sealing, len(contract.silos))
    shares = []
    for deviation, exponent in noises(contract):
        values = np.random.default_rng(4).normal(0.0, deviation, DRAWS)
        error = levels_and_back(values, exponent, bits) - values
        shares.append(float(np.sqrt(np.mean(error**2))) / deviation)
    return max(shares)


@pytest.mark.parametrize("epsilon", [1.0, 5.0])
def test_at_the_default_the_rounding_error_is_a_few_percent_of_the_noise(epsilon: float) -> None:
    two, three, four = (worst_share(per_slot, epsilon) for per_slot in (2, 3, 4))
    assert two < 0.001
    assert 0.001 < three < 0.03
    assert 0.03 < four < 0.5


def test_the_rounding_error_is_that_of_a_stochastic_rounding() -> None:
    values, bits = np.random.default_rng(5).uniform(-1, 1, DRAWS), 13
    error = levels_and_back(values, 0, bits) - values
    step = 2 / (2**bits - 1)
    assert abs(float(np.mean(error))) < 5 * step / math.sqrt(DRAWS)
    assert float(np.sqrt(np.mean(error**2))) == pytest.approx(step / math.sqrt(6), rel=0.02)


def total_of(contract: StudyContract, liar: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]]:
    """(opened total, first exponents) of a training round in which three silos are honest and one sends ``liar``."""
    before = io.BytesIO(state_bytes(initial_state(contract, study_id(contract))))
    segments = training_segments(contract, StateFile.open(before, 0).head)
    _, bits = resolved(contract.sealing, len(contract.silos))
    updates = [np.full(liar.size, 0.01)] * 3 + [liar]
    levels = [quantise(one, segments, bits, np.random.default_rng(6).random) for one in updates]
    sums = np.sum(levels, axis=0, dtype=np.uint64).astype(np.float64)
    scales = np.concatenate([np.full(one.length, 2.0**one.exponent) for one in segments])
    return (2.0 * sums / (2**bits - 1) - len(updates)) * scales, tuple(one.exponent for one in segments)


@settings(deadline=None, max_examples=40)
@given(st.floats(allow_nan=False, allow_infinity=False), st.integers(2, 4))
def test_a_silo_that_reports_absurd_values_moves_no_scale_by_more_than_the_step(absurd: float, per_slot: int) -> None:
    contract = contract_at(per_slot)
    total, first = total_of(contract, np.full(sum(tensor_lengths(contract)), absurd))
    after = streamed_update(contract, initial_state(contract, study_id(contract)), 1, total, contract.silo_names)
    assert all(abs(now - before) <= MAX_STEP for now, before in zip(after.exponents, first, strict=True))


def test_absurd_values_in_one_tensor_leave_the_others_scales_alone() -> None:
    contract = contract_at(3)
    start, (weights, biases) = initial_state(contract, study_id(contract)), tensor_lengths(contract)
    honest, absurd = np.full(weights + biases, 0.01), np.full(weights + biases, 0.01)
    absurd[:weights] = 1e300
    scales = [
        streamed_update(contract, start, 1, total_of(contract, liar)[0], contract.silo_names).exponents
        for liar in (honest, absurd)
    ]
    assert scales[1][0] == start.exponents[0] + MAX_STEP
    assert scales[0][1] == scales[1][1]
