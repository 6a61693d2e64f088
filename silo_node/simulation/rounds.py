"""A whole study in one process: every silo's rounds with the product's own mechanisms, summed without being sealed.

What a silo would compute is computed by the very functions that its runner calls, with the contract's noise. The
levels that it would seal are added in the clear: that is what a sealed sum opens to. No ledger is charged.
"""

import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from protocol.accounting import cost_of, epsilon_at
from protocol.evaluation import right_and_wrong
from protocol.rounds import last_round, plan_round, round_events, round_layout
from protocol.sealing.decode import dequantise
from protocol.simulation import RoundSimulated, SiloSimulated, SimulationOutcome
from protocol.study import study_id
from protocol.training_study import TrainingContract
from silo_node.agent.progress import Progress, apply_total, segments_of
from silo_node.sealing.quantise import Quantiser, cryptographic_uniforms, source_of
from silo_node.simulation.rows import SiloRows
from silo_node.statistics.queries import normalisation_sums
from silo_node.training.estimate import estimate_accuracy
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.models import logits
from silo_node.training.noise import NoiseSource
from silo_node.training.rows import scaled, standardised
from silo_node.training.state import StudyState
from silo_node.training.trainer import train_round

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Hits:
    """How many of a silo's held-out rows are predicted right, counted exactly."""

    right: int
    rows: int

    @property
    def share(self) -> float | None:
        return self.right / self.rows if self.rows else None


def simulate(
    contract: TrainingContract, rows: Mapping[str, SiloRows], noise: NoiseSource
) -> Iterator[RoundSimulated | SimulationOutcome]:
    """All rounds of the study, a report after each, and its outcome. ``rows`` holds every silo of the contract."""
    study, last, held = study_id(contract), last_round(contract), b""
    for index in range(last + 1):
        total, clipped = _total(contract, rows, held, index, noise)
        after = io.BytesIO()
        apply_total(contract, study, index, io.BytesIO(held), [total], contract.silo_names, after)
        held = after.getvalue()
        hits = hits_of(contract, rows, Progress.from_bytes(held).state)
        plan = plan_round(contract, index)
        yield RoundSimulated(
            type="round",
            index=index,
            last=last,
            stage=plan.stage,
            accuracy=_together(hits).share,
            epsilon=epsilon_after(contract, index),
            clipped=clipped,
            values=plan.values * len(rows),
        )
    yield _outcome(contract, rows, Progress.from_bytes(held))


def hits_of(contract: TrainingContract, rows: Mapping[str, SiloRows], state: StudyState) -> dict[str, Hits]:
    """By silo, how the model that ``state`` would release does on the held-out rows."""
    hits = {}
    for silo, one in rows.items():
        inputs = standardised(contract, one.held_out.features, state.mean, state.deviation)
        predicted = logits(contract, state.released_parameters, inputs) > 0
        right = int(np.count_nonzero(predicted == (one.held_out.target > 0.5)))
        hits[silo] = Hits(right, one.held_out.count)
    return hits


def epsilon_after(contract: TrainingContract, index: int) -> float:
    """What rounds 0 to ``index`` cost, at the contract's order and delta, at the silo where they cost most."""
    privacy = contract.privacy
    costs = [
        sum(cost_of(round_events(contract, silo, past), privacy.order) for past in range(index + 1))
        for silo in contract.silo_names
    ]
    return epsilon_at(max(costs), privacy.delta, privacy.order)


def _total(
    contract: TrainingContract, rows: Mapping[str, SiloRows], held: bytes, index: int, noise: NoiseSource
) -> tuple[Floats, int]:
    """The opened total of a round over all silos, and how many values were clipped when they were encoded."""
    segments = segments_of(contract, io.BytesIO(held), index)
    part = round_layout(contract, index, len(rows)).parts[0]
    sums, clipped = np.zeros(part.values, dtype=np.uint64), 0
    for silo, one in rows.items():
        update = _update(contract, silo, one, held, index, noise)
        uniforms = cryptographic_uniforms(os.urandom(32))
        quantiser = Quantiser(source_of(update), segments, part.level_bits, uniforms)
        sums += quantiser.read(0, part.values)
        clipped += quantiser.clipped
    return dequantise(sums, part, len(rows), segments), clipped


def _update(
    contract: TrainingContract, silo: str, rows: SiloRows, held: bytes, index: int, noise: NoiseSource
) -> Floats:
    stage = plan_round(contract, index).stage
    if stage == "normalisation":
        return normalisation_sums(contract, scaled(contract, rows.training.features), noise)
    state = Progress.from_bytes(held).state
    if stage == "training":
        return train_round(contract, silo, rows.training, state, noise).vector
    return evaluation_counts(contract, rows.held_out, state, noise)


def _together(hits: Mapping[str, Hits]) -> Hits:
    return Hits(sum(one.right for one in hits.values()), sum(one.rows for one in hits.values()))


def _outcome(contract: TrainingContract, rows: Mapping[str, SiloRows], reached: Progress) -> SimulationOutcome:
    told = estimate_accuracy(contract, reached.counts, reached.evaluated)
    right, wrong = right_and_wrong(contract.evaluation, reached.counts)
    hits = hits_of(contract, rows, reached.state)
    positive = sum(int(one.held_out.target.sum()) for one in rows.values())
    commonest = Hits(max(positive, _together(hits).rows - positive), _together(hits).rows)
    return SimulationOutcome(
        type="outcome",
        right=right,
        wrong=wrong,
        accuracy=told.accuracy,
        standard_error=told.standard_error,
        exact=_together(hits).share,
        commonest=commonest.share,
        silos=tuple(
            SiloSimulated(
                silo=silo, training=one.training.count, held_out=one.held_out.count, accuracy=hits[silo].share
            )
            for silo, one in rows.items()
        ),
    )
