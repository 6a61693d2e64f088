"""A whole private study in one process, for benchmarks: one ledger and one copy of the state a silo.

The product's own statistics, trainer, sealed sum and ledgers run, and everything is charged: normalisation, training,
evaluation. Transport, statements and the policy are left out.
"""

import io
import secrets
from dataclasses import dataclass
from functools import partial
from typing import Final

import numpy as np
from numpy.typing import NDArray

from protocol.rounds import charge_id, last_round, plan_round, round_events, round_layout
from protocol.sealing.addition import add_chunks
from protocol.sealing.masks import MaskSecrets, RecoveredSeeds, masks_of_sum, own_masks
from protocol.sealing.secret import StudySecret
from protocol.study import study_id
from protocol.training_study import TrainingContract
from silo_node.agent.progress import Progress, apply_total, segments_of
from silo_node.ledger.budget import Refused
from silo_node.ledger.caps import Use
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.sealing.sealer import OpenedTotal, seal_update
from silo_node.statistics.queries import normalisation_sums
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.noise import NoiseSource
from silo_node.training.rows import TrainingRows, scaled
from silo_node.training.trainer import train_round

Floats = NDArray[np.float64]

DOMAIN: Final = "persons"


@dataclass(frozen=True, slots=True)
class Institution:
    """One silo: rows to train on, rows held out, and its own budget ledger (None where no privacy is asked)."""

    name: str
    training: TrainingRows
    held_out: TrainingRows
    ledger: SqliteLedger | None


class Noiseless:
    """Adds nothing at all, for the figure without privacy; it exists in this benchmark only."""

    def add_gaussian(self, sums: Floats, deviation: float, step: float) -> Floats:
        """The sums themselves."""
        return sums

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        """Every row."""
        return np.ones(rows, dtype=np.bool_)


def run_study(contract: TrainingContract, institutions: list[Institution], noise: NoiseSource) -> Progress:
    """All rounds of the study; where they led, the same at all of them."""
    study, names, secret = study_id(contract), tuple(each.name for each in institutions), StudySecret.generate()
    held = dict.fromkeys(names, b"")
    for index in range(last_round(contract) + 1):
        updates = {each.name: _charged(contract, study, each, held[each.name], index, noise) for each in institutions}
        segments = segments_of(contract, io.BytesIO(held[names[0]]), index)
        freeze, layout = secrets.token_bytes(32), round_layout(contract, index, len(names))
        mine = {name: MaskSecrets.generate() for name in names}
        offers = {name: one.offer for name, one in mine.items()}
        uploads = []
        for name in names:
            masks, update = own_masks(mine[name], freeze, name, offers), io.BytesIO(updates[name].tobytes())
            uploads.append(list(seal_update(update, segments, secret, freeze, name, layout, masks)))
        seeds = RecoveredSeeds({name: one.self_seed for name, one in mine.items()}, {})
        left = masks_of_sum(freeze, names, offers, seeds)
        served = [add_chunks([chunks[k] for chunks in uploads], layout, k) for k in range(layout.chunks)]
        for name in names:
            total = OpenedTotal(partial(list, served), segments, secret, freeze, names, layout, left)
            after = io.BytesIO()
            apply_total(contract, study, index, io.BytesIO(held[name]), total, names, after)
            held[name] = after.getvalue()
        if len(set(held.values())) != 1:
            raise SystemExit(f"round {index}: the silos hold different states")
    return Progress.from_bytes(held[names[0]])


def _charged(
    contract: TrainingContract, study: str, one: Institution, held: bytes, index: int, noise: NoiseSource
) -> Floats:
    """The silo's update of a round: reserved, computed, settled."""
    charge, events = charge_id(study, index), round_events(contract, one.name, index)
    if one.ledger:
        admitted = one.ledger.reserve(DOMAIN, charge, events, Use(contract.data.dataset, study, contract.recipients))
        if isinstance(admitted, Refused):
            raise SystemExit(f"{one.name} refuses round {index}: {admitted}")
    update = _update(contract, one, held, index, noise)
    if one.ledger:
        one.ledger.settle(charge, events)
    return update


def _update(contract: TrainingContract, one: Institution, held: bytes, index: int, noise: NoiseSource) -> Floats:
    if plan_round(contract, index).stage == "normalisation":
        return normalisation_sums(contract, scaled(contract, one.training.features), noise)
    state = Progress.from_bytes(held).state
    if plan_round(contract, index).stage == "training":
        return train_round(contract, one.name, one.training, state, noise).vector
    return evaluation_counts(contract, one.held_out, state, noise)
