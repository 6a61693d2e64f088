"""``make demo`` as whoever looks at the project first runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from safetensors.numpy import load_file

from compose.demo import MARK, PLACES
from compose.heart import HOSPITALS
from tests.federation.rig.hospitals import eventually, is_alive

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
SERVICES = ("hub", *HOSPITALS)


def demo(folder: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "compose.demo"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": "200"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def services_of(folder: Path) -> set[int]:
    """Every process that was started on a folder of the demo's run, runners and workers included."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                command = (entry / "cmdline").read_bytes().decode(errors="replace")
                logs = {os.readlink(entry / "fd" / number) for number in ("1", "2")}
            except OSError:
                continue
            if str(folder) in command or any(log.startswith(str(folder)) for log in logs):
                found.add(int(entry.name))
    return found


def test_the_demo_runs_from_invitation_to_verified_log_and_leaves_what_it_promises(tmp_path: Path) -> None:
    process = demo(tmp_path)
    printed, _ = process.communicate(timeout=240)
    assert process.returncode == 0, printed
    run = tmp_path / "demo-run"
    for place in PLACES.values():
        assert (run / place).stat().st_size > 0
        assert place.rpartition("/")[2] in printed
    assert "Every silo holds the same model: yes" in printed
    metrics = json.loads((run / "model" / "metrics.json").read_text())
    assert 0.5 < metrics["accuracy"] < 1
    assert load_file(run / "model" / "model.safetensors")["layer0.weight"].shape == (1, 13)
    onnx.checker.check_model(onnx.load(run / "model" / "model.onnx"))
    for name in HOSPITALS:
        assert re.search(rf"{name}\s.*\d", printed)
    assert services_of(run) == set()


def test_a_demo_that_is_interrupted_ends_its_processes_and_starts_clean_again(tmp_path: Path) -> None:
    run = tmp_path / "demo-run"
    process = demo(tmp_path)
    watch(run, SERVICES[-1])
    alive = services_of(run)
    assert len(alive) >= len(SERVICES)
    process.send_signal(signal.SIGINT)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode == 130, printed
    assert "all processes ended" in printed
    eventually(lambda: not any(is_alive(one) for one in alive), "the demo's processes end with it")
    (run / "of-the-run-before").touch()
    again = demo(tmp_path)
    watch(run, "hub")
    assert not (run / "of-the-run-before").exists()
    again.send_signal(signal.SIGTERM)
    again.communicate(timeout=60)
    assert again.returncode == 130
    eventually(lambda: not services_of(run), "the second demo's processes end with it")


def watch(run: Path, service: str) -> None:
    """Waits until the demo has started ``service``."""
    eventually(lambda: (run / "logs" / f"{service}.log").exists(), f"the demo starts {service}")
    eventually(lambda: services_of(run), "it runs")


def test_a_folder_that_is_not_of_the_demo_is_never_touched(tmp_path: Path) -> None:
    mine = tmp_path / "demo-run" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    process = demo(tmp_path)
    printed, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "is not of this demo" in printed
    assert mine.read_text() == "years of work"
    assert not (mine.parent / MARK).exists()
