"""Federated averaging, and a state that is the same bytes at every silo."""

import hashlib
import math
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.study import study_id, tensor_lengths
from silo_node.training.errors import TrainingRefused
from silo_node.training.strategies import (
    StudyState,
    averaged_update,
    initial_state,
    normalised,
    survivors_weight,
)

ALL = ("north", "south", "west")
finite = st.floats(allow_nan=False, allow_infinity=False)
positive = st.floats(min_value=1e-300, allow_nan=False, allow_infinity=False)


def start(contract: Any) -> StudyState:
    return initial_state(contract, study_id(contract))


def states() -> st.SearchStrategy[StudyState]:
    def of(features: int, parameters: int, tensors: int) -> st.SearchStrategy[StudyState]:
        vector = hnp.arrays(np.float64, parameters, elements=finite)
        return st.builds(
            StudyState,
            rounds=st.integers(0, 10_000),
            exponents=st.tuples(*[st.integers(-126, 126)] * tensors),
            mean=hnp.arrays(np.float64, features, elements=finite),
            deviation=hnp.arrays(np.float64, features, elements=positive),
            parameters=vector,
            summed=vector,
            averaged=st.integers(0, 10_000),
        )

    return st.tuples(st.integers(0, 5), st.integers(0, 9), st.integers(0, 4)).flatmap(lambda sizes: of(*sizes))


@settings(deadline=None, max_examples=60)
@given(states())
def test_a_state_comes_back_from_its_bytes_bit_for_bit(state: StudyState) -> None:
    again = StudyState.from_bytes(state.to_bytes())
    assert again.to_bytes() == state.to_bytes()
    assert (again.rounds, again.exponents, again.averaged) == (state.rounds, state.exponents, state.averaged)
    assert again.parameters.tobytes() == state.parameters.tobytes()


def test_bytes_that_are_no_state_are_refused(contract_of: Any) -> None:
    good = start(contract_of()).to_bytes()
    nan = np.array([math.nan]).astype("<f8").tobytes()
    huge = good[:25] + b"\xff" * 40 + good[65:]
    far = good[:65] + (127).to_bytes(8, "little") + good[73:]
    for bad in (b"", good[:-1], good + b"\0", b"x" + good[1:], good[:30], good[:-8] + nan, huge, far):
        with pytest.raises(TrainingRefused, match="study state"):
            StudyState.from_bytes(bad)


def test_a_deviation_of_zero_is_refused(contract_of: Any) -> None:
    with pytest.raises(TrainingRefused, match="not above 0"):
        normalised(start(contract_of()), np.zeros(4), np.array([1.0, 0.0, 1.0, 1.0]))


def test_the_mean_update_is_the_total_over_the_survivors_weight(contract_of: Any) -> None:
    contract = contract_of()
    local = {"north": np.full(5, 0.1), "south": np.full(5, -0.2), "west": np.full(5, 0.3)}
    for survivors in (ALL, ("west", "north")):
        weights = {silo: contract.terms_of(silo).weight for silo in survivors}
        total = sum(weights[silo] * local[silo] for silo in survivors)
        mean = sum(weights[silo] * local[silo] for silo in survivors) / sum(weights.values())
        state = averaged_update(contract, start(contract), np.asarray(total), survivors)
        assert np.allclose(state.parameters, mean, rtol=1e-12)
        assert state.rounds == 1


def test_the_order_in_which_survivors_are_listed_changes_no_bit(contract_of: Any) -> None:
    contract, total = contract_of(), np.linspace(-0.3, 0.31, 5)
    one, other = (averaged_update(contract, start(contract), total, names) for names in (ALL, ALL[::-1]))
    assert one.to_bytes() == other.to_bytes()


def test_the_released_model_is_the_mean_of_the_last_states(contract_of: Any) -> None:
    contract = contract_of(rounds=4, averaged_rounds=2)
    state, seen = start(contract), []
    for step in (0.1, -0.05, 0.2, 0.01):
        before = state
        state = averaged_update(contract, state, np.full(5, step), ALL)
        seen.append(state.parameters)
        assert np.allclose(state.parameters - before.parameters, step)
    assert state.averaged == 2
    assert np.array_equal(state.released_parameters, (seen[2] + seen[3]) / 2.0)
    with pytest.raises(TrainingRefused, match="the contract has 4"):
        averaged_update(contract, state, np.zeros(5), ALL)


def test_the_next_exponent_follows_the_total_by_at_most_two(contract_of: Any) -> None:
    contract = contract_of()
    state = start(contract)
    assert contract.sealing.training_exponent == 1
    assert state.exponents == (1, 1)
    assert averaged_update(contract, state, np.full(5, 1e-9), ALL).exponents == (-1, -1)
    assert averaged_update(contract, state, np.full(5, 100.0), ALL).exponents == (3, 3)
    assert averaged_update(contract, state, np.full(5, 0.3), ALL).exponents == (0, 0)


def test_each_tensor_has_a_scale_of_its_own(contract_of: Any) -> None:
    contract = contract_of([2])
    assert tensor_lengths(contract) == (8, 2, 2, 1)
    parts = [np.full(8, 100.0), np.full(2, 0.3), np.full(2, 1e-9), np.full(1, -0.9)]
    after = averaged_update(contract, replace(start(contract), exponents=(1, 0, 1, 1)), np.concatenate(parts), ALL)
    assert after.exponents == (3, 0, -1, 1)


def test_each_tensor_is_clipped_to_its_own_scale(contract_of: Any) -> None:
    contract = contract_of()
    before = replace(start(contract), exponents=(1, -1))
    after = averaged_update(contract, before, np.full(5, 1e9), ALL)
    # Terms of 2^1 and 2^-1 at the smallest weight, .2.
    assert np.allclose(after.parameters, [10.0] * 4 + [2.5])


def test_a_state_of_another_models_tensors_is_refused(contract_of: Any) -> None:
    contract = contract_of()
    with pytest.raises(TrainingRefused, match="3 exponents, the model has 2 tensors"):
        averaged_update(contract, replace(start(contract), exponents=(1, 1, 1)), np.zeros(5), ALL)


def test_a_total_beyond_what_honest_terms_reach_is_clipped(contract_of: Any) -> None:
    contract = contract_of()
    state = averaged_update(contract, start(contract), np.full(5, 1e9), ALL)
    # A term of 2^1 at the smallest weight, .2, is a local move of 10.
    assert np.allclose(state.parameters, 2.0 / 0.2)


@pytest.mark.parametrize(
    "total", [np.zeros(4), np.full(5, math.nan), np.full(5, math.inf), np.zeros(5, dtype=np.float32)]
)
def test_a_total_of_another_shape_or_not_finite_is_refused(contract_of: Any, total: Any) -> None:
    contract = contract_of()
    with pytest.raises(TrainingRefused, match="total"):
        averaged_update(contract, start(contract), total, ALL)


@pytest.mark.parametrize("survivors", [(), ("north", "north"), ("north", "east")])
def test_survivors_that_the_contract_does_not_name_once_are_refused(contract_of: Any, survivors: Any) -> None:
    with pytest.raises(TrainingRefused, match="survivors"):
        survivors_weight(contract_of(), survivors)


def test_every_machine_computes_the_same_bytes(contract_of: Any) -> None:
    contract = contract_of([8, 3], rounds=6, averaged_rounds=3)
    state = normalised(
        initial_state(contract, "ab" * 32), np.linspace(-0.7, 0.4, 4), np.sqrt(np.linspace(0.05, 0.9, 4))
    )
    size = state.parameters.size
    for index in range(6):
        # Only exactly rounded operations, so that the script itself can't differ.
        total = ((np.arange(size) * 7919 + index * 104_729) % 1009 - 504).astype(np.float64) / 997.0
        state = averaged_update(contract, state, total, ALL if index % 2 else ("north", "west"))
    state = replace(state, parameters=state.released_parameters)
    assert (
        hashlib.sha256(state.to_bytes()).hexdigest()
        == "17cb20f1b4074709092bdd09441287a2beae699d9294ed30d6153fe814b22105"
    )


def test_what_the_agent_needs_of_training_comes_without_torch() -> None:
    modules = "strategies, architecture, estimate, rows, noise, errors"
    program = f"import sys; from silo_node.training import {modules}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
