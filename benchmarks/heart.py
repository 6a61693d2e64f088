"""Accuracy of a private study over four hospitals: ``python -m benchmarks.heart --epsilon 1 --seeds 5 --json``.

The product's own statistics, trainer, sealed sum and ledgers run in one process, one ledger and one copy of the
state a hospital, everything charged: normalisation, training, evaluation. Accuracy and AUC by hospital are computed
exactly, by the benchmark alone, on the reference split; a study releases only the noised estimate beside them.
Each seed is one study with its own noise; the split stays. ``--epsilon inf`` trains without noise or clipping.
"""

import argparse
import io
import json
import math
import secrets
import tempfile
import time
import warnings
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.heart_contract import DELTA, heart_contract
from compose.heart import HOSPITALS, HospitalTable, hospital_tables, reference_split
from protocol import accounting
from protocol.rounds import charge_id, last_round, plan_round, round_events, round_layout
from protocol.sealing.addition import add_chunks
from protocol.sealing.masks import MaskSecrets, RecoveredSeeds, masks_of_sum, own_masks
from protocol.sealing.secret import StudySecret
from protocol.study import StudyContract, study_id
from silo_node.agent.progress import Progress, apply_total, segments_of
from silo_node.ledger.budget import Balance, PrivacyDomain, Refused
from silo_node.ledger.caps import Use
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.sealing.sealer import OpenedTotal, seal_update
from silo_node.statistics.queries import normalisation_sums
from silo_node.training.estimate import AccuracyEstimate, estimate_accuracy
from silo_node.training.evaluation import evaluation_counts
from silo_node.training.models import logits
from silo_node.training.noise import InsecureNoiseWarning, NoiseSource, SeededNoise
from silo_node.training.rows import TrainingRows, scaled, standardised
from silo_node.training.state import StudyState
from silo_node.training.trainer import train_round

Floats = NDArray[np.float64]

DOMAIN: Final = "heart-patients"


@dataclass(frozen=True, slots=True)
class Hospital:
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


def run_study(contract: StudyContract, hospitals: list[Hospital], noise: NoiseSource) -> Progress:
    """All rounds of the study; where they led, the same at all hospitals."""
    study, names, secret = study_id(contract), tuple(h.name for h in hospitals), StudySecret.generate()
    held = dict.fromkeys(names, b"")
    for index in range(last_round(contract) + 1):
        updates = {h.name: _charged(contract, study, h, held[h.name], index, noise) for h in hospitals}
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
            raise SystemExit(f"round {index}: the hospitals hold different states")
    return Progress.from_bytes(held[names[0]])


def _charged(
    contract: StudyContract, study: str, hospital: Hospital, held: bytes, index: int, noise: NoiseSource
) -> Floats:
    """The hospital's update of a round: reserved, computed, settled."""
    charge, events = charge_id(study, index), round_events(contract, hospital.name, index)
    if hospital.ledger:
        admitted = hospital.ledger.reserve(
            DOMAIN, charge, events, Use(contract.data.dataset, study, contract.recipients)
        )
        if isinstance(admitted, Refused):
            raise SystemExit(f"{hospital.name} refuses round {index}: {admitted}")
    update = _update(contract, hospital, held, index, noise)
    if hospital.ledger:
        hospital.ledger.settle(charge, events)
    return update


def _update(contract: StudyContract, hospital: Hospital, held: bytes, index: int, noise: NoiseSource) -> Floats:
    if plan_round(contract, index).stage == "normalisation":
        return normalisation_sums(contract, scaled(contract, hospital.training.features), noise)
    state = Progress.from_bytes(held).state
    if plan_round(contract, index).stage == "training":
        return train_round(contract, hospital.name, hospital.training, state, noise).vector
    return evaluation_counts(contract, hospital.held_out, state, noise)


def measure(epsilon: float, seeds: int) -> dict[str, Any]:
    """The figures of `--json`, means over the seeds."""
    started = time.perf_counter()
    tables = hospital_tables()
    contract = heart_contract(epsilon, {silo: len(tables[silo].target) for silo in HOSPITALS})
    accuracies, areas, spent, estimates = [], [], {}, []
    for seed in range(seeds):
        with tempfile.TemporaryDirectory() as folder:
            hospitals = [_hospital(silo, tables[silo], Path(folder), epsilon) for silo in HOSPITALS]
            reached = run_study(contract, hospitals, _noise(epsilon, seed))
            spent = {h.name: _spent(h) for h in hospitals}
        scores = [_score(contract, h, reached.state) for h in hospitals]
        accuracies.append([accuracy for accuracy, _ in scores])
        areas.append([area for _, area in scores])
        if math.isfinite(epsilon):
            totals = np.array([reached.right, reached.wrong])
            estimates.append(estimate_accuracy(contract, totals, reached.evaluated))
    return _figures(epsilon, np.array(accuracies), np.array(areas), spent, estimates, time.perf_counter() - started)


def _figures(
    epsilon: float,
    accuracies: Floats,
    areas: Floats,
    spent: dict[str, float | None],
    estimates: list[AccuracyEstimate],
    seconds: float,
) -> dict[str, Any]:
    return {
        "epsilon": epsilon if math.isfinite(epsilon) else "inf",
        "delta": DELTA,
        "seeds": len(accuracies),
        "mean_accuracy": round(float(accuracies.mean()), 4),
        "by_seed": [round(float(value), 4) for value in accuracies.mean(axis=1)],
        "by_hospital": dict(zip(HOSPITALS, accuracies.mean(axis=0).round(4).tolist(), strict=True)),
        "auc": dict(zip(HOSPITALS, areas.mean(axis=0).round(4).tolist(), strict=True)),
        "epsilon_spent": spent,
        "released_estimates": [[estimate.accuracy, estimate.standard_error] for estimate in estimates],
        "seconds": round(seconds, 2),
    }


def _hospital(silo: str, table: HospitalTable, folder: Path, epsilon: float) -> Hospital:
    training, held_out = reference_split(table.target)
    ledger = None
    if math.isfinite(epsilon):
        ledger = SqliteLedger(folder / silo / "ledger.sqlite", lambda: datetime.now(UTC))
        ledger.register(PrivacyDomain.at_best_order(DOMAIN, "record", epsilon, DELTA))
    return Hospital(
        silo,
        TrainingRows(table.features[training], table.target[training]),
        TrainingRows(table.features[held_out], table.target[held_out]),
        ledger,
    )


def _noise(epsilon: float, seed: int) -> NoiseSource:
    return SeededNoise(f"benchmarks.heart/{seed}".encode()) if math.isfinite(epsilon) else Noiseless()


def _spent(hospital: Hospital) -> float | None:
    """What the ledger says was spent, as the epsilon at delta 1e-3; None where nothing is private."""
    if hospital.ledger is None:
        return None
    balance = hospital.ledger.balance(DOMAIN)
    hospital.ledger.close()
    assert isinstance(balance, Balance)
    return round(accounting.epsilon_at(balance.spent_picos, DELTA, balance.domain.order), 6)


def _score(contract: StudyContract, hospital: Hospital, state: StudyState) -> tuple[float, float]:
    inputs = standardised(contract, hospital.held_out.features, state.mean, state.deviation)
    found = logits(contract, state.released_parameters, inputs)
    target = hospital.held_out.target
    return float(np.mean((found > 0) == (target > 0.5))), float(roc_auc_score(target, found))


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epsilon", type=float, default=1.0, help="the whole study's, at every hospital; or inf")
    parser.add_argument("--seeds", type=int, default=5, help="studies to run, each with its own noise")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    # Here noise is to be repeatable: nothing is released.
    warnings.simplefilter("ignore", InsecureNoiseWarning)
    found = measure(asked.epsilon, asked.seeds)
    if asked.json:
        print(json.dumps(found))
        return
    for name, value in found.items():
        print(f"{name}: {value}")


if __name__ == "__main__":
    main()
