"""The box of the process that reads rows: what of the silo lies in it, at which level, and when it is another one."""

import io
import json
import os
import sys
from pathlib import Path

import pytest

from protocol.study import StudyContract, study_id
from silo_node.dataset.catalogue import Catalogue
from silo_node.dataset.registration import Registration, register
from silo_node.errors import ConfigRefused, DatasetRefused
from silo_node.runner import level as levels
from silo_node.runner import spawning
from silo_node.runner.box.box import Level
from silo_node.runner.level import accepted_level, sandbox_level
from silo_node.runner.messages import MAGIC, Payload
from silo_node.runner.process import Runner
from silo_node.runner.tasks import task_of_round
from tests.whole_states import initial_state, state_bytes

AT = "2026-11-22T03:29:00Z"
LOOK = f"""
import json, os, sys, time
def told(name):
    try:
        return open(name, 'rb').read(10000).decode('latin-1')
    except OSError:
        return None
def send(header):
    h = json.dumps(header, sort_keys=True, separators=(',', ':')).encode()
    sys.stdout.buffer.write({MAGIC!r} + len(h).to_bytes(4, 'big') + bytes(8) + h)
    sys.stdout.buffer.flush()
send({{'import_s': 0, 'reply': 'ready'}})
send({{'reply': 'refused', 'reason': json.dumps([name for name in PATHS if told(name) is not None])}})
time.sleep(600)
"""


def run(runner: Runner, contract: StudyContract) -> int:
    state = Payload.of(state_bytes(initial_state(contract, study_id(contract))))
    return runner.run(task_of_round(contract, "cleveland", 1, state), io.BytesIO()).steps_run


@pytest.fixture
def two(tmp_path: Path, source: Path, registration: Registration) -> Catalogue:
    """A silo with two datasets, in two privacy domains."""
    catalogue = Catalogue(tmp_path / "silo" / "datasets")
    for name, domain in (("heart", "patients"), ("lungs", "others")):
        copy = tmp_path / f"{name}.csv"
        copy.write_bytes(source.read_bytes())
        asked = register(name, copy, registration.declared, domain, 50.0, 1e-3, 4, 300)
        catalogue.add(asked, catalogue.check, AT)
    return catalogue


@pytest.mark.parametrize("level", ["bubblewrap", "landlock"])
def test_the_box_holds_its_dataset_and_nothing_else_of_the_silo(
    level: Level, two: Catalogue, contract: StudyContract, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("identity.key", "journal.sqlite", "ledger.sqlite", "silo.toml"):
        (two.folder.parent / name).write_text("x")
    everything = sorted(str(path) for path in tmp_path.rglob("*") if path.is_file())
    # Of the silo; each dataset's source, registration, profile, list of opt-outs and register of persons; three keys;
    # the lists' lock.
    assert len(everything) == 4 + 2 * 5 + 3 + 1
    everything.append(f"/proc/{os.getpid()}/environ")
    monkeypatch.setattr(spawning, "_PROGRAM", ("-I", "-c", f"PATHS = {everything!r}\n{LOOK}"))
    with Runner(two.folder, limit_s=60, level=lambda: level) as runner, pytest.raises(DatasetRefused) as seen:
        run(runner, contract)
    datasets = tmp_path / "silo" / "datasets"
    needed = [tmp_path / "heart.csv", datasets / "heart.json"]
    needed += [datasets / "keys" / "fingerprint.key", datasets / "keys" / "split-patients.key"]
    needed += [datasets / "opt-outs" / "patients.list"]
    assert json.loads(str(seen.value)) == sorted(map(str, needed))


@pytest.mark.parametrize("level", ["landlock", "none"])
def test_a_round_is_trained_at_the_lower_levels_too(
    level: Level, catalogue: Catalogue, contract: StudyContract
) -> None:
    with Runner(catalogue.folder, limit_s=120, level=lambda: level) as runner:
        assert run(runner, contract) == 5


def test_another_dataset_is_read_in_another_box_and_so_is_a_replaced_file(two: Catalogue, tmp_path: Path) -> None:
    heart, lungs = two.get("heart"), two.get("lungs")
    with Runner(two.folder, limit_s=60, warm=False) as runner:
        processes = []
        for asked in (heart, heart, lungs):
            runner.check(Registration(**{name: getattr(asked, name) for name in Registration.model_fields}))
            processes.append(runner.process_id)
        assert processes[0] == processes[1] != processes[2]
        (tmp_path / "new").write_bytes((tmp_path / "lungs.csv").read_bytes())
        (tmp_path / "new").replace(tmp_path / "lungs.csv")
        runner.check(Registration(**{name: getattr(lungs, name) for name in Registration.model_fields}))
        assert runner.process_id not in processes


def test_nothing_is_started_early_while_it_is_unclear_for_which_dataset(two: Catalogue) -> None:
    with Runner(two.folder, limit_s=60) as runner:
        runner.start()
        assert runner.process_id is None


def test_without_bubblewrap_the_level_is_landlock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sandbox_level.__wrapped__() == "landlock"


def place_bubblewrap(folder: Path, program: str) -> None:
    path = folder / "bwrap"
    path.write_text(f"#!{sys.executable}\nimport os, sys\n{program}\n")
    path.chmod(0o755)


def test_where_bubblewrap_may_not_make_namespaces_the_level_is_landlock(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As in most containers: it is there, and fails."""
    place_bubblewrap(tmp_path, "sys.exit('bwrap: No permissions to create new namespace')")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert sandbox_level.__wrapped__() == "landlock"


def test_a_bubblewrap_that_makes_no_walls_does_not_count(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = "at = sys.argv.index('silo_node.runner.box.entering') - 4\nos.execv(sys.argv[at], sys.argv[at:])"
    place_bubblewrap(tmp_path, program)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not levels.holds("bubblewrap")


def test_without_any_sandbox_nothing_is_read_unless_the_owner_accepts_that(
    monkeypatch: pytest.MonkeyPatch, registration: Registration, catalogue: Catalogue
) -> None:
    monkeypatch.setattr(levels, "sandbox_level", lambda: "none")
    assert accepted_level(none_accepted=True) == "none"
    with (
        Runner(catalogue.folder, limit_s=60, warm=False) as runner,
        pytest.raises(ConfigRefused, match=r'sandbox = "none-accepted" in silo\.toml'),
    ):
        runner.check(registration)
