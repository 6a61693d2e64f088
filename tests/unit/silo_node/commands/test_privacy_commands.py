"""``consortia-silo privacy self-test`` as its user starts it: in the box, on the product as installed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from silo_node.__main__ import app
from silo_node.commands import privacy
from silo_node.journal.chain import FILE, Journal
from silo_node.selftest.measured import Begun, Finished, Measured

COMMAND = Path(sys.executable).with_name("consortia-silo")
GOOD = Measured(check="noise", what="standard deviation", figure=1.001, low=0.99, high=1.01, alarm=1e-9, seconds=1.5)
LOW = Measured(check="sensitivity", what="training round", figure=1.5, low=0.3, high=1.00001, alarm=0.0)


@pytest.fixture
def joined(folder: Path) -> Path:
    Journal(folder / FILE).close()
    return folder


def entries(folder: Path) -> list[Any]:
    journal = Journal(folder / FILE)
    found = [entry.event for entry in journal.entries()]
    journal.close()
    return found


def test_the_product_passes_its_own_self_test_on_this_machine_and_files_it(joined: Path) -> None:
    arguments = [COMMAND, "privacy", "self-test", "--folder", joined, "--json"]
    done = subprocess.run(arguments, capture_output=True, check=False)
    told = json.loads(done.stdout)
    assert [one for one in told["figures"] if one["figure"] is None] == []
    assert (done.returncode, told["passed"], told["failure"]) == (0, True, None)
    assert len(told["figures"]) == 31 and told["versions"]["torch"][0].isdigit()
    (event,) = entries(joined)
    assert event.what.startswith("quick privacy self-test passed: 31 of 31 figures")


def test_a_failed_one_ends_with_1_says_what_failed_in_80_columns_and_what_follows(
    joined: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [Begun(versions={"torch": "2"}), GOOD, LOW, Finished(figures=2)]
    monkeypatch.setattr(privacy, "run_self_test", lambda depth, level, memory_mib: iter(said))
    done = CliRunner().invoke(app, ["privacy", "self-test", "--thorough", "--folder", str(joined)])
    assert done.exit_code == 1
    lines = done.stdout.splitlines()
    assert lines[:4] == [
        "Noise, over what is charged",
        "  standard deviation                           1.001 1 +- 0.01         ok",
        "Sensitivity: the most that one record moves, over what is charged",
        "  training round                                 1.5 0.3 to 1.00001    FAILED",
    ]
    assert "computes nothing until a later self-test passes" in done.stderr
    assert entries(joined)[0].what.startswith("thorough privacy self-test failed (training round): 1 of 2 figures")


def test_before_a_silo_joined_there_is_no_journal_to_file_in(folder: Path) -> None:
    done = subprocess.run([COMMAND, "privacy", "self-test", "--folder", folder], capture_output=True, check=False)
    assert done.returncode == 1
    assert b"journal begins when it joins" in done.stderr
