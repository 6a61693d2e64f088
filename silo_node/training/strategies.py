"""Federated averaging (McMahan et al., 2017) and the study state that every silo must hold bit for bit.

All arithmetic is elementwise IEEE float64, sums over silos run in the contract's order: from the same totals every
silo computes the same bytes, which is what the state MACs compare.
"""

import struct
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.decode import MAX_EXPONENT, MIN_EXPONENT, Segment, next_segments, weighted_mean
from protocol.study import StudyContract, tensor_lengths
from silo_node.training.architecture import initial_parameters
from silo_node.training.errors import TrainingRefused

Floats = NDArray[np.float64]

_MAGIC: Final = b"consortia/study-state/v2\x00"
_HEAD: Final = struct.Struct("<QQQQQ")


@dataclass(frozen=True, slots=True, eq=False)
class StudyState:
    """Where a study stands, between rounds.

    rounds:     training rounds applied so far.
    exponents:  the scale exponents of the next training round, one a tensor (protocol.study.tensor_lengths).
    mean, deviation: float64 (d,), the normalisation in units of the scaled features; 0 and 1 where there is none.
    parameters: float64 (p,), where the next training round starts.
    summed:     float64 (p,), the sum of the states to be averaged so far; averaged: how many there are.
    """

    rounds: int
    exponents: tuple[int, ...]
    mean: Floats
    deviation: Floats
    parameters: Floats
    summed: Floats
    averaged: int

    def __post_init__(self) -> None:
        if any(not MIN_EXPONENT <= exponent <= MAX_EXPONENT for exponent in self.exponents):
            raise TrainingRefused(f"study state: an exponent is not from {MIN_EXPONENT} to {MAX_EXPONENT}")
        arrays = (self.mean, self.deviation, self.parameters, self.summed)
        if any(array.dtype != np.float64 or array.ndim != 1 for array in arrays):
            raise TrainingRefused("study state: its vectors must be float64 of one dimension")
        if self.mean.shape != self.deviation.shape or self.parameters.shape != self.summed.shape:
            raise TrainingRefused("study state: its vectors don't have the same lengths")
        if not all(bool(np.isfinite(array).all()) for array in arrays) or not bool((self.deviation > 0).all()):
            raise TrainingRefused("study state: a value is not finite, or a deviation not above 0")

    @property
    def released_parameters(self) -> Floats:
        """The model to evaluate and release: the mean of the averaged states, before that the current one."""
        return self.summed / float(self.averaged) if self.averaged else self.parameters

    def to_bytes(self) -> bytes:
        """The one encoding: magic, five uint64, an int64 a tensor, the vectors as float64, all little-endian."""
        sizes = (self.mean.size, self.parameters.size, len(self.exponents))
        head = _HEAD.pack(self.rounds, self.averaged, *sizes) + np.array(self.exponents, dtype="<i8").tobytes()
        vectors = (self.mean, self.deviation, self.parameters, self.summed)
        return _MAGIC + head + b"".join(array.astype("<f8").tobytes() for array in vectors)

    @classmethod
    def from_bytes(cls, data: bytes) -> "StudyState":
        """The state of these bytes. Raises TrainingRefused unless they are exactly what `to_bytes` gives."""
        start = len(_MAGIC) + _HEAD.size
        if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
            raise TrainingRefused("study state: the bytes don't begin like one")
        rounds, averaged, features, parameters, tensors = _HEAD.unpack(data[len(_MAGIC) : start])
        if len(data) != start + 8 * tensors + 16 * (features + parameters):
            raise TrainingRefused(f"study state: {len(data)} bytes are not what its header announces")
        exponents = tuple(np.frombuffer(data, "<i8", count=tensors, offset=start).tolist())
        values = np.frombuffer(data, "<f8", offset=start + 8 * tensors).astype(np.float64)
        mean, deviation, current, summed = np.split(values, np.cumsum([features, features, parameters]))
        return cls(rounds, exponents, mean, deviation, current, summed, averaged)


def initial_state(contract: StudyContract, study: str) -> StudyState:
    """The state before the normalisation round; ``study`` is the contract's digest."""
    features, parameters = len(contract.data.features), initial_parameters(contract, study)
    return StudyState(
        rounds=0,
        exponents=(contract.sealing.training_exponent,) * len(tensor_lengths(contract)),
        mean=np.zeros(features),
        deviation=np.ones(features),
        parameters=parameters,
        summed=np.zeros_like(parameters),
        averaged=0,
    )


def normalised(state: StudyState, mean: Floats, deviation: Floats) -> StudyState:
    """The state after the normalisation round; both (d,), in units of the scaled features."""
    return replace(state, mean=mean.copy(), deviation=deviation.copy())


def survivors_weight(contract: StudyContract, survivors: tuple[str, ...]) -> float:
    """The summed weight of the silos in a total, added in the contract's order. Raises TrainingRefused."""
    if len(set(survivors)) != len(survivors) or not set(survivors) <= set(contract.silo_names) or not survivors:
        raise TrainingRefused(f"survivors {', '.join(survivors) or 'none'}: must be distinct silos of the contract")
    total = 0.0
    for terms in contract.silos:
        total += terms.weight if terms.silo in survivors else 0.0
    return total


def training_segments(contract: StudyContract, state: StudyState) -> tuple[Segment, ...]:
    """The tensors of the next training round with their scales. Raises TrainingRefused for another model's state."""
    lengths = tensor_lengths(contract)
    if len(lengths) != len(state.exponents):
        raise TrainingRefused(f"study state: {len(state.exponents)} exponents, the model has {len(lengths)} tensors")
    return tuple(map(Segment, lengths, state.exponents))


def averaged_update(
    contract: StudyContract, state: StudyState, total: Floats, survivors: tuple[str, ...]
) -> StudyState:
    """The state after a training round whose opened sum is ``total`` (p,): sum of weight * (local - global).

    The mean update is total / survivors' weight, each tensor clipped to the largest that an encodable term of it
    could be. The next scale of a tensor follows its own part of the total.
    """
    if total.dtype != np.float64 or total.shape != state.parameters.shape or not bool(np.isfinite(total).all()):
        raise TrainingRefused(f"total: must be {state.parameters.size} finite float64 values")
    segments = training_segments(contract, state)
    parameters = state.parameters + _mean_update(contract, segments, total, survivors)
    rounds = state.rounds + 1
    if rounds > contract.training.rounds:
        raise TrainingRefused(f"training round {rounds}: the contract has {contract.training.rounds}")
    averaging = rounds > contract.training.rounds - contract.training.averaged_rounds
    return replace(
        state,
        rounds=rounds,
        exponents=tuple(segment.exponent for segment in next_segments(segments, total)),
        parameters=parameters,
        summed=state.summed + parameters if averaging else state.summed,
        averaged=state.averaged + 1 if averaging else state.averaged,
    )


def _mean_update(
    contract: StudyContract, segments: tuple[Segment, ...], total: Floats, survivors: tuple[str, ...]
) -> Floats:
    weight = survivors_weight(contract, survivors)
    least = min(contract.terms_of(silo).weight for silo in survivors)
    tensors = np.split(total, np.cumsum([segment.length for segment in segments])[:-1])
    limits = [2.0**segment.exponent / least for segment in segments]
    return np.concatenate([weighted_mean(tensor, weight, limit) for tensor, limit in zip(tensors, limits, strict=True)])
