"""A simulated study is the product's own mechanisms, the contract's noise, and sums as a sealed sum would open to."""

import json
import math
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from protocol.accounting import epsilon_at
from protocol.mock import mock_rows
from protocol.published_column import PublishedColumn
from protocol.simulation import REPORT, MockSource, RoundSimulated, SimulatedSilo, SimulationJob, SimulationOutcome
from protocol.study import StudyContract, study_cost
from protocol.training_study import tensor_lengths
from silo_node.errors import DatasetRefused
from silo_node.simulation import rounds
from silo_node.simulation.rounds import epsilon_after, simulate
from silo_node.simulation.rows import SiloRows, rows_of
from silo_node.training.noise import SystemNoise
from tests.sample_study import SILOS, contract

COMMAND = [str(Path(sys.executable).with_name("consortia-silo")), "simulate"]


@dataclass
class Listening:
    """The noise of production, which remembers how much of it was asked for."""

    deviations: list[float] = field(default_factory=list)

    def add_gaussian(self, sums: NDArray[np.float64], deviation: float, step: float) -> NDArray[np.float64]:
        self.deviations.append(deviation)
        return SystemNoise().add_gaussian(sums, deviation, step)

    def included(self, rows: int, rate: float) -> NDArray[np.bool_]:
        return SystemNoise().included(rows, rate)


def published(study: StudyContract) -> tuple[PublishedColumn, ...]:
    return tuple(PublishedColumn(**dict(column)) for column in (*study.data.features, study.data.target))


def source(study: StudyContract) -> MockSource:
    return MockSource(kind="mock", dataset="heart", columns=published(study))


def job(study: StudyContract) -> SimulationJob:
    silos = tuple(SimulatedSilo(silo=silo, source=source(study)) for silo in SILOS)
    return SimulationJob(format="consortia-simulation/1", contract=study, silos=silos)


def rows(study: StudyContract) -> dict[str, SiloRows]:
    return {one.silo: rows_of(study, one) for one in job(study).silos}


def from_file(study: StudyContract, text: str, path: Path) -> SiloRows:
    path.write_text(text)
    value = {"silo": "alpha", "source": {"kind": "file", "path": str(path)}}
    return rows_of(study, SimulatedSilo.model_validate_json(json.dumps(value)))


def test_every_mechanism_adds_the_noise_that_the_contract_calls_for() -> None:
    study, noise = contract(), Listening()
    list(simulate(study, rows(study), noise))
    normalising, training, evaluating = (
        study.normalisation.noise_multiplier * study.normalisation.clip,
        study.training.noise_multiplier * study.training.clip,
        study.evaluation.noise_multiplier,
    )
    draws = study.training.rounds * study.training.local_steps * len(SILOS) * len(tensor_lengths(study))
    assert noise.deviations[: len(SILOS)] == [normalising] * len(SILOS)
    assert noise.deviations[len(SILOS) : -len(SILOS)] == pytest.approx([training] * draws, rel=1e-4)
    assert noise.deviations[-len(SILOS) :] == [evaluating] * len(SILOS)


def test_what_is_reported_to_be_spent_is_what_the_ledgers_would_charge() -> None:
    study = contract()
    *reports, outcome = simulate(study, rows(study), SystemNoise())
    costs = [one.epsilon for one in reports if isinstance(one, RoundSimulated)]
    whole = study_cost(study, "alpha", study.privacy.order)
    assert costs[-1] == epsilon_at(whole, study.privacy.delta, study.privacy.order) == epsilon_after(study, 3)
    assert costs == sorted(costs) and isinstance(outcome, SimulationOutcome)


def test_a_total_is_the_sum_of_the_updates_to_the_encodings_precision_and_counts_what_it_clipped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    study = contract()
    updates = {silo: np.array([0.1, -0.7, 3.0, 500.0]) * scale for silo, scale in zip(SILOS, (1, 2, 3, 4), strict=True)}
    monkeypatch.setattr(rounds, "_update", lambda contract, silo, *_: updates[silo])
    total, clipped = rounds._total(study, rows(study), b"", 0, SystemNoise())
    limit = 2.0**study.sealing.normalisation_exponent
    wanted = sum(np.clip(update, -limit, limit) for update in updates.values())
    assert clipped == 4 and np.abs(total - wanted).max() <= 4 * 2 * limit / (2**13 - 1)


def test_a_study_that_can_learn_beats_the_commoner_answer_on_mock_rows() -> None:
    study = contract(training=contract().training.model_dump(mode="json") | {"rounds": 6, "learning_rate": 1.0})
    study = study.model_copy(update={"silos": tuple(t.model_copy(update={"rows": 2000}) for t in study.silos)})
    held = {silo: rows_of(study, SimulatedSilo(silo=silo, source=source(study))) for silo in SILOS}
    outcome = list(simulate(study, held, SystemNoise()))[-1]
    assert isinstance(outcome, SimulationOutcome) and outcome.exact and outcome.commonest
    assert outcome.exact > outcome.commonest


def test_a_silos_rows_are_as_many_as_published_and_split_by_the_test_share() -> None:
    study = contract()
    one = rows(study)["alpha"]
    assert one.training.count + one.held_out.count == 100 and 15 <= one.held_out.count <= 55
    made = mock_rows("alpha", "heart", published(study), 100)
    seen = np.concatenate([one.training.features[:, 0], one.held_out.features[:, 0]])
    assert sorted(seen) == sorted(made.column("age"))


def test_columns_are_found_by_their_names_wherever_they_stand_in_a_file(tmp_path: Path) -> None:
    text = "ward,ill,chol,age\n" + "".join(f"w,{n % 2},{n},{n + 20}\n" for n in range(60))
    one = from_file(contract(), text, tmp_path / "public.csv")
    features = np.concatenate([one.training.features, one.held_out.features])
    assert (features[:, 0] == features[:, 1] + 20).all() and len(features) == 60


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("age,chol\n1,2\n", "with these columns, all numbers: age, chol, ill"),
        ("age,chol,ill\nMrs Secret,2,1\n", "with these columns, all numbers"),
        ("age,chol,ill\n1,2,7\n", "target ill must be 0 or 1"),
        ("age,chol,ill\n1,2,\n", "target ill must be 0 or 1"),
        ("", "with these columns"),
    ],
    ids=["column", "text", "target", "no target", "empty"],
)
def test_a_file_that_does_not_fit_is_refused_without_a_value_of_it(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(DatasetRefused) as refused:
        from_file(contract(), text, tmp_path / "public.csv")
    assert said in str(refused.value) and "Secret" not in str(refused.value)


def test_a_missing_feature_counts_as_in_training_and_stops_nothing(tmp_path: Path) -> None:
    text = "age,chol,ill\n" + "".join(f"{n if n % 3 else ''},5,{n % 2}\n" for n in range(60))
    one = from_file(contract(), text, tmp_path / "public.csv")
    assert math.isnan(np.concatenate([one.training.features, one.held_out.features])[:, 0].sum())
    study = contract()
    held = dict.fromkeys(SILOS, one)
    assert isinstance(list(simulate(study, held, SystemNoise()))[-1], SimulationOutcome)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"format": "consortia-simulation/2"}, "format"),
        ({"silos": []}, "must be those of the contract"),
        ({"extra": 1}, "extra"),
    ],
)
def test_a_job_that_is_none_is_refused_on_standard_output(change: dict[str, object], said: str) -> None:
    value = job(contract()).model_dump(mode="json") | change
    done = subprocess.run(COMMAND, input=json.dumps(value), capture_output=True, text=True, check=False)
    report = REPORT.validate_json(done.stdout)
    assert done.returncode == 1 and report.type == "refused" and said in report.reason
