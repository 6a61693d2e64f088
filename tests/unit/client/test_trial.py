"""A study tried in full on mock rows, by the real command in a real process, before anyone is asked."""

import json
import os
from pathlib import Path

import pytest

from client import simulating
from client.catalogue import datasets
from client.errors import TrialFailed, UsageRefused
from client.registrations import by_members
from client.trial import simulation_job, try_study
from protocol.mock import mock_rows
from protocol.simulation import RoundSimulated
from protocol.study import StudyContract
from tests.unit.client.conftest import World, make_contract
from tests.unit.client.test_command import Command, command  # noqa: F401  # the fixture

MOST = 20_000


@pytest.fixture
def contract(world: World) -> StudyContract:
    return make_contract(world)


@pytest.fixture
def draft(sample: Path, tmp_path: Path) -> Path:
    """The sample in three rounds of training."""
    path = tmp_path / "draft.yaml"
    text = sample.read_text().replace("rounds: 15", "rounds: 3").replace("averaged_rounds: 5", "averaged_rounds: 1")
    path.write_text(text)
    return path


def commanded(tmp_path: Path, script: str) -> str:
    """A command of our own in place of ``consortia-silo``."""
    path = tmp_path / "consortia-silo"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o700)
    return str(path)


def test_a_study_is_tried_to_its_end_and_nothing_is_said_to_the_hub(
    command: Command,  # noqa: F811
    world: World,
    grace_key: Path,
    draft: Path,
) -> None:
    before = len(world.leaves)
    code, out, _ = command("study", "try", str(draft), "--key", str(grace_key))
    assert code == 0, out
    assert "TRIAL ON MOCK ROWS: nothing was sent, nobody was asked" in out
    assert "say nothing about the real data" in " ".join(out.split())
    assert "privacy cost: epsilon" in out and "consortia study propose" in out
    assert len(world.leaves) == before
    assert not any(call.startswith("POST") and "statements" in call for call in world.calls)


def test_scripts_get_every_round_and_the_outcome(
    command: Command,  # noqa: F811
    grace_key: Path,
    draft: Path,
) -> None:
    code, out, _ = command("study", "try", str(draft), "--json", "--key", str(grace_key))
    shown = json.loads(out)
    assert code == 0 and shown["mock"] is True and shown["rows_from_files"] == []
    assert [one["stage"] for one in shown["rounds"]] == ["normalisation", *["training"] * 3, "evaluation"]
    costs = [one["epsilon"] for one in shown["rounds"]]
    assert costs == sorted(costs) and 4.9 < costs[-1] <= 5.0
    assert shown["outcome"]["exact"] > shown["outcome"]["commonest"]


def test_a_file_of_public_data_takes_the_place_of_a_silos_mock_rows(
    command: Command,  # noqa: F811
    world: World,
    grace_key: Path,
    draft: Path,
    tmp_path: Path,
) -> None:
    table = tmp_path / "public.csv"
    columns = datasets(world.connect(grace_key))["heart"]["cleveland"].columns
    table.write_text("".join(mock_rows("elsewhere", "heart", columns, 80).csv()))
    asked = ("study", "try", str(draft), "--data", f"cleveland={table}", "--json", "--key", str(grace_key))
    shown = json.loads(command(*asked)[1])
    assert shown["mock"] is False and shown["rows_from_files"] == ["cleveland"]
    simulated = {one["silo"]: one["training"] + one["held_out"] for one in shown["outcome"]["silos"]}
    assert simulated["cleveland"] == 80 and simulated["hungarian"] == 261


def test_a_trial_of_fewer_rows_keeps_noise_and_weights_and_expects_smaller_batches(
    world: World, grace_key: Path, contract: StudyContract
) -> None:
    job = simulation_job(contract, by_members(world.connect(grace_key), "heart"), {}, 100)
    assert [terms.rows for terms in job.contract.silos] == [100, 100, 46, 100]
    assert [terms.weight for terms in job.contract.silos] == [terms.weight for terms in contract.silos]
    assert job.contract.training == contract.training
    assert job.contract.terms_of("cleveland").normaliser == pytest.approx(100 * 0.66)
    assert job.contract.terms_of("switzerland") == contract.terms_of("switzerland")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("atlantis=x.csv", "atlantis is no silo of the study"),
        ("cleveland=absent.csv", "can't be read"),
        ("cleveland", "give SILO=FILE.csv"),
    ],
)
def test_a_file_that_cannot_be_used_is_refused_before_anything_starts(
    command: Command,  # noqa: F811
    grace_key: Path,
    draft: Path,
    monkeypatch: pytest.MonkeyPatch,
    given: str,
    said: str,
) -> None:
    monkeypatch.setattr(simulating, "silo_command", lambda: pytest.fail("a process was started"))
    code, _, err = command("study", "try", str(draft), "--data", given, "--key", str(grace_key))
    assert code == 2 and said in err


def test_no_value_of_a_file_stands_in_the_refusal_of_it(
    world: World, grace_key: Path, contract: StudyContract, tmp_path: Path
) -> None:
    table = tmp_path / "public.csv"
    names = [column.name for column in (*contract.data.features, contract.data.target)]
    table.write_text(",".join(names) + "\n" + 20 * (",".join(["Mrs Secret"] * len(names)) + "\n"))
    with pytest.raises(TrialFailed, match=r"public\.csv: it must be CSV with these columns, all numbers") as refused:
        run(world, grace_key, contract, {"cleveland": table})
    assert "Secret" not in str(refused.value)


def test_more_rows_than_fit_the_memory_are_refused(world: World, grace_key: Path, contract: StudyContract) -> None:
    many = {terms.silo: 10**9 for terms in contract.silos}
    value = contract.model_copy(
        update={"silos": tuple(one.model_copy(update={"rows": many[one.silo]}) for one in contract.silos)}
    )
    with pytest.raises(UsageRefused, match="take fewer rows a silo"):
        simulation_job(value, by_members(world.connect(grace_key), "heart"), {}, 10**9)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("cat >/dev/null; echo 'ModuleNotFoundError: torch' >&2; exit 1", "lacks what training needs; install: pip"),
        ("exit 3", "ended with 3 before the study did; it said nothing"),
        ('cat >/dev/null; echo \'{"type":"song"}\'', "says what no simulation says"),
    ],
)
def test_a_silo_command_that_does_not_simulate_is_told_apart(
    world: World,
    grace_key: Path,
    contract: StudyContract,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    script: str,
    said: str,
) -> None:
    found = commanded(tmp_path, script)
    monkeypatch.setattr(simulating, "silo_command", lambda: found)
    with pytest.raises(TrialFailed, match=said):
        run(world, grace_key, contract, {})


def test_the_simulating_process_gets_no_key_and_no_environment_and_is_gone_when_the_trial_is_given_up(
    world: World, grace_key: Path, contract: StudyContract, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("CONSORTIA_KEY", "the-secret")
    report = RoundSimulated(
        type="round", index=0, last=3, stage="normalisation", accuracy=None, epsilon=0.0, clipped=0, values=1
    ).model_dump_json()
    script = f"cat >/dev/null; env >{tmp_path}/env; echo $$ >{tmp_path}/pid; echo '{report}'; exec sleep 600"
    found = commanded(tmp_path, script)
    monkeypatch.setattr(simulating, "silo_command", lambda: found)

    def give_up(_: RoundSimulated) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_study(contract, by_members(world.connect(grace_key), "heart"), {}, MOST, give_up)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)
    assert "the-secret" not in (tmp_path / "env").read_text()


def run(world: World, key: Path, contract: StudyContract, files: dict[str, Path]) -> None:
    try_study(contract, by_members(world.connect(key), "heart"), files, MOST, lambda _: None)
