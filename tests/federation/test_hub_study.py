"""Whole studies over real HTTP: a hub process, four silos that seal for real."""

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from protocol.routes import BLOB
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import HubProcess


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


def test_a_study_runs_from_proposal_to_release(consortium: Consortium) -> None:
    study = consortium.start(rounds=2)
    with consortium.running(study):
        status = consortium.finish(study)
    assert (status["state"], status["rounds_closed"], status["rounds_total"]) == ("completed", 4, 4)
    for index in range(4):
        expected = sum(silo.sent[study, index] for silo in consortium.silos)
        for silo in consortium.silos:
            np.testing.assert_array_equal(silo.totals[study, index], expected)
    _release(consortium, study)


def test_terms_are_deleted_when_their_round_is_closed(hub: HubProcess, consortium: Consortium) -> None:
    study = consortium.start(rounds=1, hidden=(2000,))
    with consortium.running(study):
        assert consortium.finish(study)["state"] == "completed"
    uploads, deadline = hub.folder / "blobs" / "uploads", time.monotonic() + 20
    while left := [path for path in uploads.rglob("*") if path.is_file()]:
        assert time.monotonic() < deadline, left
        time.sleep(0.1)
    sums = [path for path in (hub.folder / "blobs" / "sums").rglob("*") if path.is_file()]
    assert len(sums) >= 3  # they stay for silos that missed the end
    shares = [path for path in (hub.folder / "blobs" / "shares").rglob("*") if path.is_file()]
    assert len(shares) == 3 * len(consortium.silos)  # with what opens them


def _release(consortium: Consortium, study: str) -> None:
    consortium.lead.say("release-requested", study=study)
    for silo in consortium.silos[:2]:
        silo.say("release-approved", study=study, commitment="4" * 64)
    sealed = consortium.silos[0].release(study, consortium.lead)
    assert consortium.status(study)["released_to"] == ["rosa"]
    entry = [signed.body for _, _, signed in consortium.lead.poll() if signed.body.type == "release-sealed"][-1]
    assert consortium.lead.get(BLOB.format(study=study, digest=entry.blob)).content == sealed
