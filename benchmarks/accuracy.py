"""How good private models are: ``python -m benchmarks.accuracy --cohort heart --seeds 5 --json``.

Logistic regression at no privacy and at epsilon 10, 5 and 1, by three ways, side by side in one run:

- ``federated``: the product's study (``benchmarks.private_study``), each silo with its own noise and ledger;
- ``pooled``: one who holds all rows trains on them with the same steps and the same noise, once for all;
- ``local``: each silo trains on its own rows alone with the same steps and noise.

All are charged for normalisation, training and evaluation alike. Accuracy is the mean over the silos, of each silo's
held-out rows; AUC is over all held-out rows together. Both are computed exactly, by the benchmark alone; a study
releases only noised counts. Each seed is one study with its own noise; the split stays.
"""

import argparse
import io
import json
import math
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.cohorts.cohort import Cohort, Split
from benchmarks.cohorts.heart import heart
from benchmarks.cohorts.lending import lending
from benchmarks.cohorts.randhie import randhie
from benchmarks.private_study import DOMAIN, Institution, Noiseless, run_study
from benchmarks.study_contract import study_contract
from protocol import accounting
from protocol.study import study_id
from protocol.training_study import TrainingContract, TrainingTerms
from silo_node.ledger.budget import Balance, PrivacyDomain
from silo_node.ledger.sqlite import SqliteLedger
from silo_node.statistics.queries import column_moments, normalisation_sums
from silo_node.training.estimate import AccuracyEstimate, estimate_accuracy
from silo_node.training.models import logits
from silo_node.training.noise import InsecureNoiseWarning, NoiseSource, SeededNoise
from silo_node.training.rows import TrainingRows, scaled, standardised
from silo_node.training.state import StudyState
from silo_node.training.strategies import begin_state
from silo_node.training.trainer import train_round

Floats = NDArray[np.float64]
Logits = dict[str, Floats]
"""By silo, what the model says of each held-out row, float64 (n,): above 0 is yes."""

COHORTS: Final[dict[str, Callable[[], Cohort]]] = {"heart": heart, "randhie": randhie, "lending": lending}
EPSILONS: Final = (math.inf, 10.0, 5.0, 1.0)


@dataclass(frozen=True, slots=True)
class Federated:
    """One study's end: what its model says, each silo's epsilon by its ledger, and what the study would release."""

    logits: Logits
    spent: dict[str, float]
    told: AccuracyEstimate | None


def federated(contract: TrainingContract, cohort: Cohort, noise: NoiseSource, folder: Path | None) -> Federated:
    """The product's study; with ``folder``, each silo's ledger lies there and is charged."""
    ledgers = {silo: _ledger(contract, folder / silo) for silo in cohort.silos} if folder else {}
    reached = run_study(
        contract,
        [Institution(name, one.training, one.held_out, ledgers.get(name)) for name, one in cohort.silos.items()],
        noise,
    )
    told = estimate_accuracy(contract, reached.counts, reached.evaluated) if ledgers else None
    found = {silo: _logits(contract, one, reached.state) for silo, one in cohort.silos.items()}
    return Federated(found, {silo: _spent(contract, one) for silo, one in ledgers.items()}, told)


def pooled(contract: TrainingContract, cohort: Cohort, noise: NoiseSource) -> Logits:
    """One model of all rows together."""
    parts = [split.training for split in cohort.silos.values()]
    rows = TrainingRows(
        np.concatenate([part.features for part in parts]), np.concatenate([part.target for part in parts])
    )
    normaliser = sum(terms.normaliser for terms in contract.silos)
    published = sum(terms.rows for terms in contract.silos)
    terms = contract.silos[0].model_copy(update={"rows": published, "normaliser": normaliser})
    state = train_alone(contract, terms, rows, noise)
    return {silo: _logits(contract, one, state) for silo, one in cohort.silos.items()}


def local(contract: TrainingContract, cohort: Cohort, noise: NoiseSource) -> Logits:
    """A model a silo, each scored on its own held-out rows."""
    return {
        silo: _logits(contract, one, train_alone(contract, contract.terms_of(silo), one.training, noise))
        for silo, one in cohort.silos.items()
    }


def train_alone(contract: TrainingContract, terms: TrainingTerms, rows: TrainingRows, noise: NoiseSource) -> StudyState:
    """The contract's normalisation and training by one party alone, with the product's mechanisms."""
    # One silo is no contract that a silo would read: nothing validates this one.
    one, after = contract.model_copy(update={"silos": (terms,)}), io.BytesIO()
    sums = normalisation_sums(one, scaled(one, rows.features), noise)
    moments = column_moments(one, sums, (terms.silo,))
    begin_state(one, study_id(contract), moments.mean, moments.deviation, after, 0)
    state, reached = StudyState.from_bytes(after.getvalue()), []
    for _ in range(one.training.rounds):
        update = train_round(one, terms.silo, rows, state, noise).vector / terms.weight
        state = replace(state, parameters=state.parameters + update)
        reached.append(state.parameters)
    averaged = one.training.averaged_rounds
    return replace(state, summed=np.sum(reached[-averaged:], axis=0), averaged=averaged)


def measure(cohort: Cohort, seeds: int) -> list[dict[str, Any]]:
    """A row for each epsilon and way: means over the seeds, and how much the seeds differ."""
    rows = []
    for epsilon in EPSILONS:
        contract = study_contract(cohort.recipe, epsilon, cohort.published)
        private, found = math.isfinite(epsilon), []
        ways: dict[str, list[Logits]] = {"federated": [], "pooled": [], "local": []}
        for seed in range(seeds if private else 1):
            noise = SeededNoise(f"benchmarks.accuracy/{seed}".encode()) if private else Noiseless()
            with tempfile.TemporaryDirectory() as folder:
                found.append(federated(contract, cohort, noise, Path(folder) if private else None))
            ways["federated"].append(found[-1].logits)
            ways["pooled"].append(pooled(contract, cohort, noise))
            ways["local"].append(local(contract, cohort, noise))
        rows += [_row(cohort, epsilon, way, said) for way, said in ways.items()]
        if private:
            rows[-3]["epsilon_spent"] = found[-1].spent
            rows[-3]["told"] = [[one.told.accuracy, one.told.standard_error] for one in found if one.told]
    return rows


def _row(cohort: Cohort, epsilon: float, way: str, seeds: list[Logits]) -> dict[str, Any]:
    targets = {silo: split.held_out.target for silo, split in cohort.silos.items()}
    hits = np.array([[np.mean((one[silo] > 0) == (targets[silo] > 0.5)) for silo in targets] for one in seeds])
    together = np.concatenate(list(targets.values()))
    areas = np.array([roc_auc_score(together, np.concatenate([one[silo] for silo in targets])) for one in seeds])
    return {
        "epsilon": epsilon if math.isfinite(epsilon) else "none",
        "way": way,
        "accuracy": round(float(hits.mean()), 4),
        "auc": round(float(areas.mean()), 4),
        "deviation": {"accuracy": round(float(hits.mean(axis=1).std()), 4), "auc": round(float(areas.std()), 4)},
        "accuracy_by_silo": dict(zip(targets, hits.mean(axis=0).round(4).tolist(), strict=True)),
    }


def _ledger(contract: TrainingContract, folder: Path) -> SqliteLedger:
    ledger, privacy = SqliteLedger(folder / "ledger.sqlite", lambda: datetime.now(UTC)), contract.privacy
    ledger.register(PrivacyDomain.at_best_order(DOMAIN, "record", privacy.epsilon, privacy.delta))
    return ledger


def _spent(contract: TrainingContract, ledger: SqliteLedger) -> float:
    balance = ledger.balance(DOMAIN)
    ledger.close()
    assert isinstance(balance, Balance)
    return round(accounting.epsilon_at(balance.spent_picos, contract.privacy.delta, balance.domain.order), 6)


def _logits(contract: TrainingContract, split: Split, state: StudyState) -> Floats:
    inputs = standardised(contract, split.held_out.features, state.mean, state.deviation)
    return logits(contract, state.released_parameters, inputs)


def main() -> None:
    """Parse, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cohort", choices=COHORTS, default="heart")
    parser.add_argument("--seeds", type=int, default=5, help="studies to run at each epsilon, each with its own noise")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    asked = parser.parse_args()
    # Here noise is to be repeatable: nothing is released.
    warnings.simplefilter("ignore", InsecureNoiseWarning)
    started, cohort = time.perf_counter(), COHORTS[asked.cohort]()
    rows = measure(cohort, asked.seeds)
    if asked.json:
        seconds = round(time.perf_counter() - started, 1)
        about = {"cohort": asked.cohort, "rows": cohort.published, "delta": cohort.recipe.delta, "seeds": asked.seeds}
        print(json.dumps(about | {"seconds": seconds, "figures": rows}))
        return
    print(f"{'epsilon':>8}  {'way':<10}{'accuracy':>9}{'+-':>7}{'AUC':>8}{'+-':>7}")
    for row in rows:
        spread = row["deviation"]
        print(
            f"{row['epsilon']:>8}  {row['way']:<10}{row['accuracy']:>9.3f}{spread['accuracy']:>7.3f}"
            f"{row['auc']:>8.3f}{spread['auc']:>7.3f}"
        )


if __name__ == "__main__":
    main()
