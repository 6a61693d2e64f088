"""A whole study whose chunks, sums and bundle lie in a real S3 bucket."""

import time
from pathlib import Path

import numpy as np
import obstore
import pytest

from hub.config.settings import load
from hub.errors import SetupRefused
from hub.store.s3_blobs import S3Blobs
from protocol.routes import BLOB
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.s3 import SECRET, S3Server


def test_a_study_runs_over_s3_through_a_kill_of_the_hub_and_leaves_no_terms(tmp_path: Path) -> None:
    with S3Server(tmp_path / "s3") as server:
        hub = HubProcess(tmp_path / "hub", **server.settings("study"))
        hub.start()
        try:
            consortium = Consortium(hub.url, hub.card)
            consortium.gather()
            study = consortium.start(rounds=2, hidden=(500,))
            with consortium.running(study):
                status = consortium.finish(study)
            assert (status["state"], status["rounds_closed"], status["suspended"]) == ("completed", 4, [])
            for index in range(4):
                expected = sum(silo.sent[study, index] for silo in consortium.silos)
                np.testing.assert_array_equal(consortium.silo("ada").totals[study, index], expected)
            hub.kill()
            hub.start()
            release_and_fetch(consortium, study)
            place = server.place("study")
            bucket = S3Blobs(place.url, place.endpoint, place.region, place.credentials)
            kinds = await_no_uploads(bucket)
        finally:
            hub.stop()
        assert kinds == {"sums", "shares", "bundles"}
        assert not (tmp_path / "hub" / "blobs").exists()
        assert "Traceback" not in hub.logged()
        assert SECRET not in hub.logged()


def release_and_fetch(consortium: Consortium, study: str) -> None:
    consortium.lead.say("release-requested", study=study)
    for silo in consortium.silos[:2]:
        silo.say("release-approved", study=study, commitment="4" * 64)
    sealed = consortium.silos[0].release(study, consortium.lead)
    entry = [signed.body for _, _, signed in consortium.lead.poll() if signed.body.type == "release-sealed"][-1]
    assert consortium.lead.get(BLOB.format(study=study, digest=entry.blob)).content == sealed


def await_no_uploads(bucket: S3Blobs) -> set[str]:
    """The kinds of objects that stay, once the terms of the closed study are deleted."""
    deadline = time.monotonic() + 30
    while True:
        names = [item["path"] for batch in obstore.list(bucket._store) for item in batch]
        kinds = {name.split("/")[0] for name in names}
        if "uploads" not in kinds:
            return kinds
        assert time.monotonic() < deadline, names
        time.sleep(0.2)


def test_an_s3_server_elsewhere_is_spoken_to_by_https_only(tmp_path: Path) -> None:
    folder = HubProcess(tmp_path / "hub").folder
    for endpoint in ("http://s3.example", "ftp://127.0.0.1", "s3.example"):
        with pytest.raises(SetupRefused, match="s3_endpoint"):
            load(folder, {"s3_endpoint": endpoint})
    for endpoint in ("https://s3.example", "http://127.0.0.1:9000", ""):
        assert load(folder, {"s3_endpoint": endpoint}).s3_endpoint == endpoint
    with pytest.raises(SetupRefused, match="blobs_url"):
        load(folder, {"blobs_url": "gs://elsewhere/blobs"})
