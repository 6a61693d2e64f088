"""How a study moves from round to round: the opened total of each stage applied to what all silos agree on.

What they agree on is a file: the number of evaluated silos, how many counts they evaluate and these counts, then the
study's state. It is read and written in runs, since a model may be larger than memory; only who releases it holds it
whole.
"""

import shutil
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import BinaryIO, Final, Self

import numpy as np
from numpy.typing import NDArray

from protocol.rounds import plan_round
from protocol.sealing.decode import Segment
from protocol.statistics_study import StatisticsContract, exponent_of
from protocol.study import StudyContract
from protocol.training_study import TrainingContract
from silo_node.agent.totals import Totals
from silo_node.runner.messages import Payload
from silo_node.statistics.queries import column_moments
from silo_node.training.errors import TrainingRefused
from silo_node.training.state import StateFile, StudyState
from silo_node.training.strategies import apply_update, begin_state, training_segments

Floats = NDArray[np.float64]

_LEAD: Final = struct.Struct("<QQ")
_MOST_COUNTS: Final = 1 << 16
_BLOCK_BYTES: Final = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class Progress:
    """The study's state with the evaluation's totals, held whole.

    counts: float64 (evaluation.values,), noised, of all ``evaluated`` silos together; zeros before the evaluation.
    """

    state: StudyState
    evaluated: int
    counts: Floats

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Raises ``TrainingRefused`` unless ``data`` is what a file of progress holds."""
        evaluated, counts = _lead_of(data[: _LEAD.size])
        lead = _lead_size(counts)
        if len(data) < lead:
            raise TrainingRefused("study progress: the bytes don't begin like one")
        held = np.frombuffer(data, "<f8", count=counts, offset=_LEAD.size).astype(np.float64, copy=False)
        return cls(StudyState.from_bytes(memoryview(data)[lead:]), evaluated, held)


def segments_of(contract: StudyContract, before: BinaryIO, index: int) -> tuple[Segment, ...]:
    """The tensors of round ``index``, each with its scale exponent e: its values are encoded on [-2^e, 2^e].

    before: the progress before the round; before round 0 nothing is read of it.
    """
    match contract:
        case TrainingContract():
            return _segments_of_training(contract, before, index)
        case StatisticsContract():
            return tuple(Segment(one.question.values, exponent_of(contract, one)) for one in contract.queries)


def apply_total(
    contract: StudyContract,
    study: str,
    index: int,
    before: BinaryIO,
    totals: Iterable[Floats],
    survivors: tuple[str, ...],
    after: BinaryIO,
) -> None:
    """Writes into ``after``, an empty file, what all silos agree on after round ``index``.

    study: the contract's digest. before: the progress before the round; nothing is read of it before round 0.
    totals: the opened total over ``survivors`` in runs, in order; read to their end, and what ends them is raised.
    """
    match contract:
        case TrainingContract():
            _apply_to_training(contract, study, index, before, totals, survivors, after)
        case StatisticsContract():
            after.write(Totals(survivors, np.concatenate(list(totals))).to_bytes())


def state_in(progress: BinaryIO) -> Payload:
    """The study's state in a file of progress, for the process that reads rows; nothing of an empty one."""
    return Payload.rest_of(progress, _start_of_state(progress))


def blocks_of(progress: BinaryIO) -> Iterator[bytes]:
    """All of a file, from where it stands, for the state MAC."""
    return iter(partial(progress.read, _BLOCK_BYTES), b"")


def _segments_of_training(contract: TrainingContract, before: BinaryIO, index: int) -> tuple[Segment, ...]:
    plan = plan_round(contract, index)
    match plan.stage:
        case "normalisation":
            return tuple(Segment(length, contract.sealing.normalisation_exponent) for length in plan.tensors)
        case "training":
            return training_segments(contract, StateFile.open(before, _lead_size(contract.evaluation.values)).head)
        case _:
            return tuple(Segment(length, contract.sealing.evaluation_exponent) for length in plan.tensors)


def _apply_to_training(
    contract: TrainingContract,
    study: str,
    index: int,
    before: BinaryIO,
    totals: Iterable[Floats],
    survivors: tuple[str, ...],
    after: BinaryIO,
) -> None:
    counts = contract.evaluation.values
    lead = _lead_size(counts)
    match plan_round(contract, index).stage:
        case "normalisation":
            moments = column_moments(contract, np.concatenate(list(totals)), survivors)
            after.write(_LEAD.pack(0, counts) + bytes(8 * counts))
            begin_state(contract, study, moments.mean, moments.deviation, after, lead)
        case "training":
            before.seek(0)
            after.write(before.read(lead))
            apply_update(contract, StateFile.open(before, lead), index, totals, survivors, after)
        case "evaluation":
            after.write(_LEAD.pack(len(survivors), counts))
            after.write(np.concatenate(list(totals)).astype("<f8", copy=False).tobytes())
            before.seek(lead)
            shutil.copyfileobj(before, after, _BLOCK_BYTES)


def _start_of_state(progress: BinaryIO) -> int:
    """Where the state begins in a file of progress; of an empty one, its end."""
    progress.seek(0)
    head = progress.read(_LEAD.size)
    return _lead_size(_lead_of(head)[1]) if head else 0


def _lead_of(head: bytes) -> tuple[int, int]:
    """(evaluated silos, counts). Raises ``TrainingRefused``."""
    if len(head) == _LEAD.size:
        evaluated, counts = _LEAD.unpack(head)
        if counts <= _MOST_COUNTS:
            return evaluated, counts
    raise TrainingRefused("study progress: the bytes don't begin like one")


def _lead_size(counts: int) -> int:
    return _LEAD.size + 8 * counts
