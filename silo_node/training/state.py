"""The study state that every silo must hold bit for bit: its one encoding, read whole or run by run.

Magic, five uint64, an int64 a tensor, then as float64 the vectors mean, deviation, parameters, summed; all
little-endian. A state of a long vector lies in a file, and is read and written there in runs of values.
"""

import os
import struct
from dataclasses import dataclass
from typing import BinaryIO, Final, Literal

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.decode import MAX_EXPONENT, MIN_EXPONENT
from silo_node.training.errors import TrainingRefused

Floats = NDArray[np.float64]
Vector = Literal["mean", "deviation", "parameters", "summed"]

_MAGIC: Final = b"consortia/study-state/v2\x00"
_HEAD: Final = struct.Struct("<QQQQQ")
_MOST_HEAD_BYTES: Final = 4096
"""No head is longer: a contract's model has at most 400 trained tensors (protocol.graph_plan)."""


@dataclass(frozen=True, slots=True)
class StateHead:
    """What a state says before its vectors.

    rounds:     training rounds applied so far.
    averaged:   how many states ``summed`` is the sum of.
    features, parameters: values of mean and of deviation; of parameters and of summed.
    exponents:  the scale exponents of the next training round, one a tensor (protocol.training_study.tensor_lengths).
    """

    rounds: int
    averaged: int
    features: int
    parameters: int
    exponents: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(not MIN_EXPONENT <= exponent <= MAX_EXPONENT for exponent in self.exponents):
            raise TrainingRefused(f"study state: an exponent is not from {MIN_EXPONENT} to {MAX_EXPONENT}")

    @classmethod
    def parse(cls, data: bytes | memoryview, size: int) -> "StateHead":
        """The head at the beginning of ``data``, of a state of ``size`` bytes. Raises TrainingRefused."""
        start = len(_MAGIC) + _HEAD.size
        if data[: len(_MAGIC)] != _MAGIC or len(data) < start:
            raise TrainingRefused("study state: the bytes don't begin like one")
        rounds, averaged, features, parameters, tensors = _HEAD.unpack(data[len(_MAGIC) : start])
        if size != start + 8 * tensors + 16 * (features + parameters) or len(data) < start + 8 * tensors:
            raise TrainingRefused(f"study state: {size} bytes are not what its header announces")
        exponents = tuple(np.frombuffer(data, "<i8", count=tensors, offset=start).tolist())
        return cls(rounds, averaged, features, parameters, exponents)

    def to_bytes(self) -> bytes:
        sizes = (self.features, self.parameters, len(self.exponents))
        numbers = _HEAD.pack(self.rounds, self.averaged, *sizes)
        return _MAGIC + numbers + np.array(self.exponents, dtype="<i8").tobytes()

    def place(self, vector: Vector) -> int:
        """At which byte of the state a vector begins."""
        before = {
            "mean": 0,
            "deviation": self.features,
            "parameters": 2 * self.features,
            "summed": 2 * self.features + self.parameters,
        }
        return len(_MAGIC) + _HEAD.size + 8 * (len(self.exponents) + before[vector])


@dataclass(frozen=True, slots=True, eq=False)
class StudyState:
    """Where a study stands, between rounds, held whole: for who trains, evaluates or releases.

    rounds, exponents, averaged: as in ``StateHead``.
    mean, deviation: float64 (d,), the normalisation in units of the scaled features; 0 and 1 where there is none.
    parameters: float64 (p,), where the next training round starts.
    summed:     float64 (p,), the sum of the states to be averaged so far.
    """

    rounds: int
    exponents: tuple[int, ...]
    mean: Floats
    deviation: Floats
    parameters: Floats
    summed: Floats
    averaged: int

    def __post_init__(self) -> None:
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

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> "StudyState":
        """The state of these bytes, its vectors lying in them. Raises TrainingRefused unless they are exactly one."""
        head = StateHead.parse(data, len(data))
        values = np.frombuffer(data, "<f8", offset=head.place("mean")).astype(np.float64, copy=False)
        cuts = np.cumsum([head.features, head.features, head.parameters])
        mean, deviation, parameters, summed = np.split(values, cuts)
        return cls(head.rounds, head.exponents, mean, deviation, parameters, summed, head.averaged)


@dataclass(frozen=True, slots=True)
class StateFile:
    """A state in a seekable binary file, from byte ``start`` to the end, read and written run by run.

    ``head`` gives the places of the vectors; to write a state, its sizes and number of exponents must be right.
    """

    file: BinaryIO
    start: int
    head: StateHead

    @classmethod
    def open(cls, file: BinaryIO, start: int) -> "StateFile":
        """Raises TrainingRefused unless the file holds exactly one state behind byte ``start``."""
        size = file.seek(0, os.SEEK_END) - start
        file.seek(start)
        return cls(file, start, StateHead.parse(file.read(_MOST_HEAD_BYTES), size))

    def read(self, vector: Vector, first: int, count: int) -> Floats:
        """The values (``count``,) of a vector from its value ``first`` on."""
        self.file.seek(self.start + self.head.place(vector) + 8 * first)
        data = self.file.read(8 * count)
        if len(data) != 8 * count:
            raise TrainingRefused("study state: its file was cut while it was read")
        return np.frombuffer(data, "<f8").astype(np.float64, copy=False)

    def write(self, vector: Vector, first: int, values: Floats) -> None:
        """Writes a run of a vector. Raises TrainingRefused for a value that is not finite."""
        if not bool(np.isfinite(values).all()):
            raise TrainingRefused("study state: a value is not finite")
        self.file.seek(self.start + self.head.place(vector) + 8 * first)
        self.file.write(np.ascontiguousarray(values, "<f8").data)

    def write_head(self, head: StateHead) -> None:
        """Written last: what it says is known once all runs are there."""
        self.file.seek(self.start)
        self.file.write(head.to_bytes())
