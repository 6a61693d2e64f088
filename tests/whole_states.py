"""The study's state computed whole in memory, in the plainest way: what the silo's files must equal byte for byte."""

import io
import struct
from collections.abc import Iterable
from dataclasses import replace

import numpy as np

from protocol.sealing.decode import Segment, next_exponent, weighted_mean
from protocol.study import StudyContract
from protocol.training_study import tensor_lengths
from silo_node.training.architecture import initial_runs
from silo_node.training.state import StateFile, StudyState
from silo_node.training.strategies import apply_update, survivors_weight


def state_bytes(state: StudyState) -> bytes:
    sizes = (state.mean.size, state.parameters.size, len(state.exponents))
    head = struct.pack("<QQQQQ", state.rounds, state.averaged, *sizes)
    vectors = (state.mean, state.deviation, state.parameters, state.summed)
    exponents = np.array(state.exponents, dtype="<i8").tobytes()
    return b"consortia/study-state/v2\0" + head + exponents + b"".join(one.astype("<f8").tobytes() for one in vectors)


def progress_bytes(state: StudyState, evaluated: int = 0, right: float = 0.0, wrong: float = 0.0) -> bytes:
    return struct.pack("<Qdd", evaluated, right, wrong) + state_bytes(state)


def initial_state(contract: StudyContract, study: str) -> StudyState:
    """Before the normalisation round; ``study`` is the contract's digest."""
    features, parameters = len(contract.data.features), np.concatenate(list(initial_runs(contract, study)))
    return StudyState(
        rounds=0,
        exponents=(contract.sealing.training_exponent,) * len(tensor_lengths(contract)),
        mean=np.zeros(features),
        deviation=np.ones(features),
        parameters=parameters,
        summed=np.zeros_like(parameters),
        averaged=0,
    )


def normalised(state: StudyState, mean: np.ndarray, deviation: np.ndarray) -> StudyState:
    return replace(state, mean=mean.copy(), deviation=deviation.copy())


def averaged_update(
    contract: StudyContract, state: StudyState, index: int, total: np.ndarray, survivors: tuple[str, ...]
) -> StudyState:
    """The state after training round ``index`` whose opened sum is ``total`` (p,)."""
    segments = tuple(map(Segment, tensor_lengths(contract), state.exponents))
    weight = survivors_weight(contract, survivors)
    least = min(contract.terms_of(silo).weight for silo in survivors)
    tensors = np.split(total, np.cumsum([segment.length for segment in segments])[:-1])
    pairs = list(zip(tensors, segments, strict=True))
    means = [weighted_mean(tensor, weight, 2.0**segment.exponent / least) for tensor, segment in pairs]
    parameters = state.parameters + np.concatenate(means)
    averaging = index > contract.training.rounds - contract.training.averaged_rounds
    return replace(
        state,
        rounds=state.rounds + 1,
        exponents=tuple(next_exponent(segment.exponent, float(np.max(np.abs(tensor)))) for tensor, segment in pairs),
        parameters=parameters,
        summed=state.summed + parameters if averaging else state.summed,
        averaged=state.averaged + 1 if averaging else state.averaged,
    )


def streamed_update(
    contract: StudyContract,
    state: StudyState,
    index: int,
    total: np.ndarray | Iterable[np.ndarray],
    survivors: tuple[str, ...],
) -> StudyState:
    """The product's own way from one state to the next, from file to file; ``total`` whole or in runs."""
    before, after = io.BytesIO(state_bytes(state)), io.BytesIO()
    runs = [total] if isinstance(total, np.ndarray) else total
    apply_update(contract, StateFile.open(before, 0), index, runs, survivors, after)
    return StudyState.from_bytes(after.getvalue())
