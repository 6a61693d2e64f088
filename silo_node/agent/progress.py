"""How a study moves from round to round: the opened total of each stage applied to what all silos agree on."""

import struct
from dataclasses import dataclass, replace
from typing import Final, Self

import numpy as np
from numpy.typing import NDArray

from protocol.rounds import plan_round
from protocol.sealing.decode import Segment
from protocol.study import StudyContract
from silo_node.statistics.queries import column_moments
from silo_node.training.errors import TrainingRefused
from silo_node.training.strategies import StudyState, averaged_update, initial_state, normalised, training_segments

_TAIL: Final = struct.Struct("<Qdd")


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """The study's state with the evaluation's totals; what a silo's state MAC covers.

    right, wrong: noised counts of all ``evaluated`` silos together; zeros before the evaluation.
    """

    state: StudyState
    evaluated: int = 0
    right: float = 0.0
    wrong: float = 0.0

    def to_bytes(self) -> bytes:
        """Number of evaluated silos and the two counts, little-endian, then the state's own encoding."""
        return _TAIL.pack(self.evaluated, self.right, self.wrong) + self.state.to_bytes()

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ``TrainingRefused`` unless ``data`` is what ``to_bytes`` gives."""
        if len(data) < _TAIL.size:
            raise TrainingRefused("study progress: the bytes don't begin like one")
        evaluated, right, wrong = _TAIL.unpack(data[: _TAIL.size])
        return cls(StudyState.from_bytes(data[_TAIL.size :]), evaluated, right, wrong)


def begin(contract: StudyContract, study: str) -> Progress:
    """Where every silo starts; ``study`` is the contract's digest."""
    return Progress(initial_state(contract, study))


def segments_of(contract: StudyContract, progress: Progress, index: int) -> tuple[Segment, ...]:
    """The tensors of round ``index``, each with its scale exponent e: its values are encoded on [-2^e, 2^e]."""
    plan = plan_round(contract, index)
    match plan.stage:
        case "normalisation":
            return tuple(Segment(length, contract.sealing.normalisation_exponent) for length in plan.tensors)
        case "training":
            return training_segments(contract, progress.state)
        case "evaluation":
            return tuple(Segment(length, contract.sealing.evaluation_exponent) for length in plan.tensors)


def apply_total(
    contract: StudyContract, progress: Progress, index: int, total: NDArray[np.float64], survivors: tuple[str, ...]
) -> Progress:
    """What all silos agree on after round ``index``, whose opened total over ``survivors`` is ``total``."""
    match plan_round(contract, index).stage:
        case "normalisation":
            moments = column_moments(contract, total, survivors)
            return replace(progress, state=normalised(progress.state, moments.mean, moments.deviation))
        case "training":
            return replace(progress, state=averaged_update(contract, progress.state, total, survivors))
        case "evaluation":
            return replace(progress, evaluated=len(survivors), right=float(total[0]), wrong=float(total[1]))
