"""A hub that adds on Ray: a whole study, and no process of Ray's left behind, however the hub ends."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import HubProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub", aggregator="ray", workers="2")
    process.start()
    yield process
    process.stop()


def processes_of_ray(hub: HubProcess) -> list[psutil.Process]:
    """All of them, once workers wait for chunks."""
    deadline = time.monotonic() + 60
    while True:
        found = psutil.Process(hub.pid).children(recursive=True)
        if len([one for one in found if one.name().startswith("ray::IDLE")]) == 2:
            return found
        assert time.monotonic() < deadline, found
        time.sleep(0.1)


def test_a_study_runs_on_ray_and_its_sums_are_those_of_the_silos_and_a_stopped_hub_leaves_nothing(
    hub: HubProcess,
) -> None:
    consortium = Consortium(hub.url, hub.card)
    consortium.gather()
    study = consortium.start(rounds=1)
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["rounds_closed"]) == ("completed", 3)
    for index in range(3):
        expected = sum(silo.sent[study, index] for silo in consortium.silos)
        for silo in consortium.silos:
            np.testing.assert_array_equal(silo.totals[study, index], expected)
    children = processes_of_ray(hub)
    os.killpg(hub.pid, signal.SIGTERM)
    assert hub.ended() == 0
    assert psutil.wait_procs(children, timeout=30)[1] == []
    assert "Traceback" not in hub.logged()


@pytest.mark.parametrize("kill", [os.kill, os.killpg])
def test_no_process_of_ray_survives_a_killed_hub(hub: HubProcess, kill) -> None:
    children = processes_of_ray(hub)
    kill(hub.pid, signal.SIGKILL)
    hub.ended()
    assert psutil.wait_procs(children, timeout=30)[1] == []
