"""Federated averaging, and a state that is the same bytes at every silo."""

import hashlib
import io
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from protocol.study import study_id
from protocol.training_study import tensor_lengths
from silo_node.training.errors import TrainingRefused
from silo_node.training.state import StateFile, StudyState, Vector
from silo_node.training.strategies import begin_state, survivors_weight
from tests.whole_states import averaged_update, initial_state, normalised, state_bytes, streamed_update

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
    again = StudyState.from_bytes(state_bytes(state))
    assert state_bytes(again) == state_bytes(state)
    assert (again.rounds, again.exponents, again.averaged) == (state.rounds, state.exponents, state.averaged)
    assert again.parameters.tobytes() == state.parameters.tobytes()


@settings(deadline=None, max_examples=60)
@given(states(), st.integers(0, 30), st.data())
def test_a_state_is_read_and_written_in_runs_bit_for_bit(state: StudyState, start: int, data: st.DataObject) -> None:
    whole = bytes(start) + state_bytes(state)
    before = StateFile.open(io.BytesIO(whole), start)
    after = StateFile(io.BytesIO(bytes(start)), start, before.head)
    vectors: tuple[tuple[Vector, int], ...] = (
        ("summed", before.head.parameters),
        ("mean", before.head.features),
        ("parameters", before.head.parameters),
        ("deviation", before.head.features),
    )
    for vector, size in vectors:
        cut = data.draw(st.integers(0, size))
        for first, end in ((cut, size), (0, cut)):
            after.write(vector, first, before.read(vector, first, end - first))
    after.write_head(before.head)
    assert after.file.getvalue() == whole  # type: ignore[attr-defined]


@pytest.mark.parametrize("open_state", [StudyState.from_bytes, lambda data: StateFile.open(io.BytesIO(data), 0)])
def test_bytes_that_are_no_state_are_refused(contract_of: Any, open_state: Callable[[bytes], Any]) -> None:
    good = state_bytes(start(contract_of()))
    huge = good[:25] + b"\xff" * 40 + good[65:]
    tensors = good[:57] + (2**60).to_bytes(8, "little") + good[65:]
    far = good[:65] + (127).to_bytes(8, "little") + good[73:]
    for bad in (b"", good[:-1], good + b"\0", b"x" + good[1:], good[:30], huge, tensors, far):
        with pytest.raises(TrainingRefused, match="study state"):
            open_state(bad)


def test_a_value_that_is_not_finite_is_neither_read_nor_written(contract_of: Any) -> None:
    good = state_bytes(start(contract_of()))
    with pytest.raises(TrainingRefused, match="not finite"):
        StudyState.from_bytes(good[:-8] + np.array([math.nan]).astype("<f8").tobytes())
    state = StateFile.open(io.BytesIO(good), 0)
    for value in (math.nan, math.inf):
        with pytest.raises(TrainingRefused, match="not finite"):
            state.write("summed", 1, np.array([0.0, value]))
    assert state.file.getvalue() == good  # type: ignore[attr-defined]


def test_a_file_that_shrinks_while_it_is_read_is_noticed(contract_of: Any) -> None:
    file = io.BytesIO(state_bytes(start(contract_of())))
    state = StateFile.open(file, 0)
    file.truncate(len(file.getvalue()) - 8)
    with pytest.raises(TrainingRefused, match="cut while it was read"):
        state.read("summed", 0, state.head.parameters)


@pytest.mark.parametrize("hidden", [None, [7, 3]])
def test_a_study_begins_with_the_normalisation_and_the_models_first_parameters(
    contract_of: Any, hidden: list[int] | None
) -> None:
    contract, after = contract_of(hidden), io.BytesIO(b"lead")
    mean, deviation = np.array([0.1, 0.0, -0.5, 0.0]), np.array([0.3, 1.0, 0.2, 1.0])
    begin_state(contract, study_id(contract), mean, deviation, after, 4)
    assert after.getvalue() == b"lead" + state_bytes(normalised(start(contract), mean, deviation))


@pytest.mark.parametrize(
    ("mean", "deviation"),
    [(np.zeros(4), np.array([1.0, 0.0, 1.0, 1.0])), (np.zeros(3), np.ones(3)), (np.zeros(4), np.ones(5))],
)
def test_a_normalisation_that_does_not_fit_is_refused(contract_of: Any, mean: Any, deviation: Any) -> None:
    contract = contract_of()
    with pytest.raises(TrainingRefused, match="4 means are needed, and as many deviations above 0"):
        begin_state(contract, study_id(contract), mean, deviation, io.BytesIO(), 0)


@st.composite
def rounds(draw: st.DrawFn) -> tuple[list[int], int, tuple[str, ...], list[int], int]:
    """Hidden layers, a round's index, its survivors, where the total is cut, and a seed."""
    hidden = draw(st.lists(st.integers(1, 12), max_size=3))
    survivors = tuple(draw(st.permutations(ALL))[: draw(st.integers(1, 3))])
    cuts = draw(st.lists(st.integers(0, 400), max_size=6))
    return hidden, draw(st.integers(1, 4)), survivors, cuts, draw(st.integers(0, 2**32))


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rounds())
def test_a_state_that_is_streamed_has_the_bytes_of_one_computed_whole(
    contract_of: Any, chosen: tuple[list[int], int, tuple[str, ...], list[int], int]
) -> None:
    """Tensors lie across the borders of runs, runs across those of tensors; some totals are clipped."""
    hidden, index, survivors, cuts, seed = chosen
    contract, numbers = contract_of(hidden or None), np.random.default_rng(seed)
    size, tensors = sum(tensor_lengths(contract)), len(tensor_lengths(contract))
    state = replace(
        start(contract),
        rounds=int(numbers.integers(0, index)),
        exponents=tuple(numbers.integers(-3, 4, tensors).tolist()),
        parameters=numbers.normal(0, 1, size),
        summed=numbers.normal(0, 3, size),
        averaged=int(numbers.integers(0, 3)),
    )
    total = numbers.normal(0, 1, size) * 2.0 ** numbers.integers(-30, 8, size)
    places = [0, *sorted(min(cut, size) for cut in cuts), size]
    runs = [total[first:end] for first, end in pairwise(places)]
    streamed = streamed_update(contract, state, index, runs, survivors)
    assert state_bytes(streamed) == state_bytes(averaged_update(contract, state, index, total, survivors))


def test_the_mean_update_is_the_total_over_the_survivors_weight(contract_of: Any) -> None:
    contract = contract_of()
    local = {"north": np.full(5, 0.1), "south": np.full(5, -0.2), "west": np.full(5, 0.3)}
    for survivors in (ALL, ("west", "north")):
        weights = {silo: contract.terms_of(silo).weight for silo in survivors}
        total = sum(weights[silo] * local[silo] for silo in survivors)
        mean = sum(weights[silo] * local[silo] for silo in survivors) / sum(weights.values())
        state = streamed_update(contract, start(contract), 1, np.asarray(total), survivors)
        assert np.allclose(state.parameters, mean, rtol=1e-12)
        assert state.rounds == 1


def test_the_order_in_which_survivors_are_listed_changes_no_bit(contract_of: Any) -> None:
    contract, total = contract_of(), np.linspace(-0.3, 0.31, 5)
    one, other = (streamed_update(contract, start(contract), 1, total, names) for names in (ALL, ALL[::-1]))
    assert state_bytes(one) == state_bytes(other)


def test_the_released_model_is_the_mean_of_the_last_states(contract_of: Any) -> None:
    contract = contract_of(rounds=4, averaged_rounds=2)
    state, seen = start(contract), []
    for index, step in enumerate((0.1, -0.05, 0.2, 0.01), start=1):
        before = state
        state = streamed_update(contract, state, index, np.full(5, step), ALL)
        seen.append(state.parameters)
        assert np.allclose(state.parameters - before.parameters, step)
    assert (state.rounds, state.averaged) == (4, 2)
    assert np.array_equal(state.released_parameters, (seen[2] + seen[3]) / 2.0)


@pytest.mark.parametrize(("applied", "averaged"), [((1, 2), 0), ((1, 2, 4), 1), ((3,), 1), ((4,), 1), ((2, 3, 4), 2)])
def test_what_is_averaged_goes_by_a_rounds_place_not_by_how_many_were_applied(
    contract_of: Any, applied: tuple[int, ...], averaged: int
) -> None:
    """Rounds that are missing here were void: nothing of them was applied."""
    contract = contract_of(rounds=4, averaged_rounds=2)
    state, seen = start(contract), []
    for index in applied:
        state = streamed_update(contract, state, index, np.full(5, 0.1 * index), ALL)
        if index > 2:
            seen.append(state.parameters)
    assert (state.rounds, state.averaged) == (len(applied), averaged)
    assert np.array_equal(state.summed, sum(seen, np.zeros(5)))


@pytest.mark.parametrize(("rounds", "index"), [(0, 0), (0, 5), (1, 1), (3, 2), (4, 5)])
def test_a_round_that_cannot_come_after_those_applied_is_refused(contract_of: Any, rounds: int, index: int) -> None:
    contract = contract_of(rounds=4)
    with pytest.raises(TrainingRefused, match=f"training round {index}: {rounds} of the contract's 4 were applied"):
        streamed_update(contract, replace(start(contract), rounds=rounds), index, np.zeros(5), ALL)


def test_the_next_exponent_follows_the_total_by_at_most_two(contract_of: Any) -> None:
    contract = contract_of()
    state = start(contract)
    assert contract.sealing.training_exponent == 1
    assert state.exponents == (1, 1)
    assert streamed_update(contract, state, 1, np.full(5, 1e-9), ALL).exponents == (-1, -1)
    assert streamed_update(contract, state, 1, np.full(5, 100.0), ALL).exponents == (3, 3)
    assert streamed_update(contract, state, 1, np.full(5, 0.3), ALL).exponents == (0, 0)


def test_each_tensor_has_a_scale_of_its_own(contract_of: Any) -> None:
    contract = contract_of([2])
    assert tensor_lengths(contract) == (8, 2, 2, 1)
    parts = [np.full(8, 100.0), np.full(2, 0.3), np.full(2, 1e-9), np.full(1, -0.9)]
    after = streamed_update(contract, replace(start(contract), exponents=(1, 0, 1, 1)), 1, np.concatenate(parts), ALL)
    assert after.exponents == (3, 0, -1, 1)


def test_each_tensor_is_clipped_to_its_own_scale(contract_of: Any) -> None:
    contract = contract_of()
    before = replace(start(contract), exponents=(1, -1))
    after = streamed_update(contract, before, 1, np.full(5, 1e9), ALL)
    # Terms of 2^1 and 2^-1 at the smallest weight, .2.
    assert np.allclose(after.parameters, [10.0] * 4 + [2.5])


def test_a_state_of_another_models_tensors_is_refused(contract_of: Any) -> None:
    contract = contract_of()
    with pytest.raises(TrainingRefused, match="3 exponents and 5 parameters, the model has 2 tensors of 5"):
        streamed_update(contract, replace(start(contract), exponents=(1, 1, 1)), 1, np.zeros(5), ALL)


def test_a_total_beyond_what_honest_terms_reach_is_clipped(contract_of: Any) -> None:
    contract = contract_of()
    state = streamed_update(contract, start(contract), 1, np.full(5, 1e9), ALL)
    # A term of 2^1 at the smallest weight, .2, is a local move of 10.
    assert np.allclose(state.parameters, 2.0 / 0.2)


@pytest.mark.parametrize(
    "total",
    [np.zeros(4), np.zeros(6), np.zeros(0), np.full(5, math.nan), np.full(5, math.inf), np.zeros(5, dtype=np.float32)],
)
def test_a_total_of_another_shape_or_not_finite_is_refused(contract_of: Any, total: Any) -> None:
    contract = contract_of()
    with pytest.raises(TrainingRefused, match="total"):
        streamed_update(contract, start(contract), 1, total, ALL)


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
        state = streamed_update(contract, state, index + 1, total, ALL if index % 2 else ("north", "west"))
    state = replace(state, parameters=state.released_parameters)
    assert (
        hashlib.sha256(state_bytes(state)).hexdigest()
        == "17cb20f1b4074709092bdd09441287a2beae699d9294ed30d6153fe814b22105"
    )


def test_what_the_agent_needs_of_training_comes_without_torch() -> None:
    modules = "strategies, state, architecture, estimate, rows, noise, errors"
    program = f"import sys; from silo_node.training import {modules}; print('torch' in sys.modules)"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "False"
