"""Silos that die in training, stay away, or come back from an old backup."""

import shutil
import signal
from pathlib import Path

import pytest

from compose.heart import HOSPITALS
from protocol.round_statements import RoundClosed, RoundReady, SpendReserved, SumServed
from tests.federation.rig.hospitals import LAST, Hospitals, charged_once, is_alive, send

pytestmark = pytest.mark.slow

VICTIM = "hungarian"
ALL = tuple(sorted(HOSPITALS))
OTHERS = tuple(name for name in ALL if name != VICTIM)


def killed_in_training(hospitals: Hospitals, round: int, step_timeout_s: int) -> str:
    """A study in whose ``round`` of training the victim was killed: charged, computing, its rows open."""
    held = hospitals.proxy.hold(lambda request: request.says("sum-verified", round - 1))
    study = hospitals.study(step_timeout_s=step_timeout_s)
    held.wait()
    runner = hospitals.runner_of(VICTIM)
    send(runner, signal.SIGSTOP)
    held.released.set()
    charged = f"silo:{VICTIM}", round
    hospitals.await_statement(SpendReserved, study, lambda said: (said.issuer, said.round) == charged)
    assert hospitals.kill(VICTIM) == []
    assert not is_alive(runner)
    return study


def test_a_silo_killed_in_training_resumes_under_the_charge_it_has(hospitals: Hospitals) -> None:
    study = killed_in_training(hospitals, round=1, step_timeout_s=120)
    charges = hospitals.charges(VICTIM, study)
    assert charges == {("reserve", 0): 1, ("settle", 0): 1, ("reserve", 1): 1}
    hospitals.start(VICTIM)
    hospitals.completed(study)
    assert hospitals.same_state_everywhere(study)
    assert hospitals.charges(VICTIM, study) == charged_once()
    assert survivors(hospitals, study) == dict.fromkeys(range(LAST + 1), ALL)


def test_a_silo_killed_in_training_is_left_out_of_the_round_and_back_in_a_later_one(hospitals: Hospitals) -> None:
    study = killed_in_training(hospitals, round=2, step_timeout_s=10)
    held = hospitals.proxy.hold(lambda request: request.says("round-ready", 3))
    held.wait()
    hospitals.start(VICTIM)
    back = f"silo:{VICTIM}", 3
    hospitals.await_statement(RoundReady, study, lambda said: (said.issuer, said.round) == back)
    held.released.set()
    hospitals.completed(study)
    assert hospitals.same_state_everywhere(study)
    charges = hospitals.charges(VICTIM, study)
    assert set(charges.values()) == {1}
    assert {index for kind, index in charges if kind == "reserve"} == set(range(LAST + 1))
    # What ran in a killed process is not known, so the whole charge of that round stands.
    assert {index for kind, index in charges if kind == "settle"} == set(range(LAST + 1)) - {2}
    assert survivors(hospitals, study) == {0: ALL, 1: ALL, 2: OTHERS, 3: ALL, 4: ALL}
    assert all(not said.suspended for said in hospitals.statements(RoundClosed, study))
    assert hospitals.log_verifies()


def test_a_silo_that_never_comes_back_is_left_out_and_the_quorum_finishes(hospitals: Hospitals) -> None:
    study = killed_in_training(hospitals, round=3, step_timeout_s=6)
    hospitals.completed(study)
    assert len({hospitals.state(name, study) for name in OTHERS}) == 1
    assert hospitals.state(VICTIM, study) is None
    assert survivors(hospitals, study) == {0: ALL, 1: ALL, 2: ALL, 3: OTHERS, 4: OTHERS}


def test_a_silo_restored_from_an_old_backup_halts_and_the_others_finish(hospitals: Hospitals, tmp_path: Path) -> None:
    folder, old, newest = hospitals.group.silo(VICTIM), tmp_path / "old", tmp_path / "newest"
    held = hospitals.proxy.hold(lambda request: request.says("round-ready", 2))
    study = hospitals.study(step_timeout_s=15)
    held.wait()
    hospitals.await_statement(RoundReady, study, lambda said: (said.issuer, said.round) == (f"silo:{VICTIM}", 2))
    hospitals.kill(VICTIM)
    shutil.copytree(folder, old)
    hospitals.start(VICTIM)
    let_go, held = held, hospitals.proxy.hold(lambda request: request.says("round-ready", 4))
    let_go.released.set()
    held.wait()
    hospitals.kill(VICTIM)
    folder.rename(newest)
    try:
        shutil.copytree(old, folder)
        assert_halts(hospitals, "is signed by this silo, and this silo does not remember it")
        for name, why in (
            ("ledger", "the ledger does not hold what this silo signed as spend-"),
            ("tasks.sqlite", "is signed by this silo, and this silo does not remember it"),
            ("journal.sqlite", "was cut back, replaced, or restored from an old backup"),
        ):
            shutil.rmtree(folder)
            shutil.copytree(newest, folder)
            put_back(old, folder, name)
            assert_halts(hospitals, why)
        held.released.set()
        hospitals.completed(study)
    finally:
        shutil.rmtree(folder)
        newest.rename(folder)
    assert len({hospitals.state(name, study) for name in OTHERS}) == 1
    hospitals.start(VICTIM)
    assert hospitals.same_state_everywhere(study)
    assert set(hospitals.charges(VICTIM, study).values()) == {1}


def put_back(old: Path, folder: Path, name: str) -> None:
    """One file of the backup with what SQLite keeps beside it, or one folder, in place of the newest."""
    for path in folder.glob(f"{name}*"):
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for path in old.glob(f"{name}*"):
        shutil.copytree(path, folder / path.name) if path.is_dir() else shutil.copy2(path, folder / path.name)


def assert_halts(hospitals: Hospitals, why: str) -> None:
    hospitals.start(VICTIM)
    status, said = hospitals.ends(VICTIM)
    assert status == 1
    assert why in said
    assert "Traceback" not in said


def survivors(hospitals: Hospitals, study: str) -> dict[int, tuple[str, ...]]:
    """Of each round, the silos whose terms are in its sum."""
    return {said.round: said.survivors for said in hospitals.statements(SumServed, study)}
