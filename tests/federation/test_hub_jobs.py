"""Reviewed code at a running hub: ciphertext goes to whom a statement names, in order, once."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from hub.services.jobs import MAX_UNNAMED
from protocol.ids import timestamp
from protocol.routes import JOB_BLOB
from protocol.signing import Signed
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import Party, Refusal, check
from tests.unit.hub.rig.process import HubProcess

BUNDLE = "b" * 64


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path_factory.mktemp("jobs") / "hub")
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


def put(party: Party, data: bytes, name: str | None = None) -> Any:
    digest = name or hashlib.sha256(data).hexdigest()
    return party.http.put(JOB_BLOB.format(digest=digest), content=data, auth=party.auth)


def submission(consortium: Consortium, data: bytes, **changes: Any) -> Signed:
    fields = {
        "silo": "ada", "name": "ages", "bundle": BUNDLE, "blob": hashlib.sha256(data).hexdigest(), "size": len(data),
        "dataset": "heart", "columns": ["age"], "purpose": "medical-research", "reason": "How old are they?",
        "seconds": 60, "memory_mib": 512, "expires_at": timestamp(datetime.now(UTC) + timedelta(days=7)),
    }  # fmt: skip
    return consortium.lead.signed("job-submitted", **{**fields, **changes})


def submit(consortium: Consortium, data: bytes) -> str:
    check(put(consortium.lead, data))
    signed = submission(consortium, data)
    consortium.lead.post(signed)
    return signed.digest


def files(hub: HubProcess) -> list[Path]:
    return [path for path in (hub.folder / "blobs" / "jobs").rglob("*") if path.is_file()]


def test_a_job_goes_to_its_silo_and_its_outputs_to_who_asked_and_nobody_else(
    hub: HubProcess, consortium: Consortium
) -> None:
    ada, bern = consortium.silo("ada"), consortium.silo("bern")
    data = b"sealed code"
    job = submit(consortium, data)
    blob = JOB_BLOB.format(digest=hashlib.sha256(data).hexdigest())
    assert ada.get(blob).content == data
    for stranger in (bern, consortium.lead):
        with pytest.raises(Refusal, match="no such blob"):
            stranger.get(blob)
    for reader in (consortium.admin, consortium.officer):
        with pytest.raises(Refusal, match="role"):
            reader.get(blob)
    assert job in [signed.digest for _, _, signed in ada.poll()]
    assert job not in [signed.digest for _, _, signed in bern.poll()]
    assert job in [signed.digest for _, _, signed in consortium.officer.poll()]

    ada.say("job-accepted", job=job, bundle=BUNDLE, policy="0" * 64)
    outputs = b"sealed outputs"
    check(put(ada, outputs))
    named = {"blob": hashlib.sha256(outputs).hexdigest(), "size": len(outputs)}
    ada.say("job-released", job=job, commitment="c" * 64, privacy="none", **named)
    assert consortium.lead.get(JOB_BLOB.format(digest=named["blob"])).content == outputs
    with pytest.raises(Refusal):
        ada.get(blob)
    assert [path.read_bytes() for path in files(hub)] == [outputs]  # the code is gone with the job's end


def test_a_blob_that_is_not_there_or_has_another_name_or_size_is_refused(consortium: Consortium) -> None:
    with pytest.raises(Refusal, match="PUT it first"):
        consortium.lead.post(submission(consortium, b"never sent"))
    assert put(consortium.lead, b"other bytes", "0" * 64).status_code == 400
    assert put(consortium.lead, bytes(4 * 1024**2 + 1)).status_code == 413
    check(put(consortium.lead, b"short"))
    with pytest.raises(Refusal, match="with this size"):
        consortium.lead.post(submission(consortium, b"short", size=6))


def test_a_silo_decides_only_what_it_was_asked_and_each_thing_once(consortium: Consortium) -> None:
    ada, bern = consortium.silo("ada"), consortium.silo("bern")
    job = submit(consortium, b"for ada alone")
    accepted = {"job": job, "bundle": BUNDLE, "policy": "0" * 64}
    with pytest.raises(Refusal, match="isn't known") as refused:
        bern.say("job-accepted", **accepted)
    assert refused.value.status == 404
    with pytest.raises(Refusal, match="another bundle"):
        ada.say("job-accepted", **{**accepted, "bundle": "0" * 64})
    signed = ada.signed("job-accepted", **accepted)
    assert ada.post(signed) == ada.post(signed)
    with pytest.raises(Refusal, match="which is accepted"):
        ada.say("job-refused", job=job, rule="owner", reason="no", decided_by="owner")
    consortium.lead.say("job-withdrawn", job=job)
    with pytest.raises(Refusal, match="which is withdrawn"):
        ada.say("job-discarded", job=job, reason="too late")


def test_a_submission_is_recorded_once_and_its_blob_serves_no_other(consortium: Consortium) -> None:
    data = b"sent twice"
    check(put(consortium.lead, data))
    signed = submission(consortium, data)
    assert consortium.lead.post(signed) == consortium.lead.post(signed)
    with pytest.raises(Refusal, match="seal it anew"):
        consortium.lead.post(submission(consortium, data))


def test_whoever_leaves_blobs_lying_is_stopped_before_the_disk_is_full(consortium: Consortium) -> None:
    for number in range(MAX_UNNAMED + 1):
        answer = put(consortium.silo("cork"), f"blob {number}".encode())
        assert answer.status_code == (201 if number < MAX_UNNAMED else 409)
    assert put(consortium.silo("dale"), b"of another").status_code == 201
