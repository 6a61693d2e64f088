"""Federated averaging (McMahan et al., 2017): how the study's state moves, run by run, from file to file.

All arithmetic is elementwise IEEE float64, sums over silos run in the contract's order: from the same totals every
silo computes the same bytes, which is what the state MACs compare. No vector is ever held whole.
"""

from collections.abc import Iterable
from dataclasses import replace
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from protocol.sealing.decode import Segment, next_exponent, runs_within, weighted_mean
from protocol.training_study import TrainingContract, parameter_count, tensor_lengths
from silo_node.training.architecture import initial_runs
from silo_node.training.errors import TrainingRefused
from silo_node.training.state import StateFile, StateHead

Floats = NDArray[np.float64]


def begin_state(
    contract: TrainingContract, study: str, mean: Floats, deviation: Floats, after: BinaryIO, start: int
) -> None:
    """Writes the state after the normalisation round into ``after``, from byte ``start`` on.

    study: the contract's digest. mean, deviation: (d,), in units of the scaled features.
    Raises TrainingRefused for other shapes, or a deviation that is not above 0.
    """
    exponents = (contract.sealing.training_exponent,) * len(tensor_lengths(contract))
    head = StateHead(0, 0, len(contract.data.features), parameter_count(contract), exponents)
    if {mean.shape, deviation.shape} != {(head.features,)} or not bool((deviation > 0).all()):
        raise TrainingRefused(f"normalisation: {head.features} means are needed, and as many deviations above 0")
    state = StateFile(after, start, head)
    state.write("mean", 0, mean)
    state.write("deviation", 0, deviation)
    at = 0
    for run in initial_runs(contract, study):
        state.write("parameters", at, run)
        state.write("summed", at, np.zeros(run.size))
        at += run.size
    state.write_head(head)


def survivors_weight(contract: TrainingContract, survivors: tuple[str, ...]) -> float:
    """The summed weight of the silos in a total, added in the contract's order. Raises TrainingRefused."""
    if len(set(survivors)) != len(survivors) or not set(survivors) <= set(contract.silo_names) or not survivors:
        raise TrainingRefused(f"survivors {', '.join(survivors) or 'none'}: must be distinct silos of the contract")
    total = 0.0
    for terms in contract.silos:
        total += terms.weight if terms.silo in survivors else 0.0
    return total


def training_segments(contract: TrainingContract, head: StateHead) -> tuple[Segment, ...]:
    """The tensors of the next training round with their scales. Raises TrainingRefused for another model's state."""
    lengths = tensor_lengths(contract)
    if len(lengths) != len(head.exponents) or sum(lengths) != head.parameters:
        raise TrainingRefused(
            f"study state: {len(head.exponents)} exponents and {head.parameters} parameters, "
            f"the model has {len(lengths)} tensors of {sum(lengths)}"
        )
    return tuple(map(Segment, lengths, head.exponents))


def apply_update(
    contract: TrainingContract,
    before: StateFile,
    index: int,
    totals: Iterable[Floats],
    survivors: tuple[str, ...],
    after: BinaryIO,
) -> None:
    """Writes the state after training round ``index`` into ``after``, where it begins as it does in ``before``.

    totals: runs, in order, of the opened sum (p,) of weight * (local - global).
    Raises TrainingRefused for a sum of another length, or one that is not finite; then ``after`` holds no state.
    """
    mean_update = _MeanUpdate(contract, before.head, index, survivors)
    state = StateFile(after, before.start, before.head)
    for vector in ("mean", "deviation"):
        state.write(vector, 0, before.read(vector, 0, before.head.features))
    for total in totals:
        at = mean_update.done
        parameters = before.read("parameters", at, total.size) + mean_update.of(total)
        summed = before.read("summed", at, total.size)
        state.write("parameters", at, parameters)
        state.write("summed", at, summed + parameters if mean_update.averaging else summed)
    state.write_head(mean_update.head_after())


class _MeanUpdate:
    """Total / survivors' weight, run by run, each tensor clipped to the largest that an encodable term of it could be.

    The next scale of a tensor follows its own part of the total. ``averaging`` goes by the round's place among the
    contract's rounds, not by how many were applied: a round of which nothing was applied counts for it too.
    """

    def __init__(self, contract: TrainingContract, head: StateHead, index: int, survivors: tuple[str, ...]) -> None:
        rounds = contract.training.rounds
        if not head.rounds < index <= rounds:
            raise TrainingRefused(f"training round {index}: {head.rounds} of the contract's {rounds} were applied")
        self._segments = training_segments(contract, head)
        self._weight = survivors_weight(contract, survivors)
        least = min(contract.terms_of(silo).weight for silo in survivors)
        self._limits = [2.0**segment.exponent / least for segment in self._segments]
        self._largest = [0.0] * len(self._segments)
        self._head = head
        self.averaging = index > rounds - contract.training.averaged_rounds
        self.done = 0

    def of(self, total: Floats) -> Floats:
        """The mean update of the next values, whose total is given; both (n,). Raises TrainingRefused."""
        start, stop = self.done, self.done + total.size
        if total.dtype != np.float64 or stop > self._head.parameters or not bool(np.isfinite(total).all()):
            raise TrainingRefused(f"total: must be {self._head.parameters} finite float64 values")
        update = np.empty_like(total)
        for tensor, first, end in runs_within(self._segments, start, stop):
            run = total[first - start : end - start]
            update[first - start : end - start] = weighted_mean(run, self._weight, self._limits[tensor])
            self._largest[tensor] = max(self._largest[tensor], float(np.max(np.abs(run))))
        self.done = stop
        return update

    def head_after(self) -> StateHead:
        """The next state's head, once all values are done. Raises TrainingRefused before."""
        if self.done != self._head.parameters:
            raise TrainingRefused(f"total: {self.done} values, must be {self._head.parameters}")
        pairs = zip(self._segments, self._largest, strict=True)
        return replace(
            self._head,
            rounds=self._head.rounds + 1,
            averaged=self._head.averaged + int(self.averaging),
            exponents=tuple(next_exponent(segment.exponent, largest) for segment, largest in pairs),
        )
