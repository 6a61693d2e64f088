"""Reviewed code from the researcher's side, before a hub that may lie, and in the officer's eyes."""

import base64
from pathlib import Path

import httpx
import pytest

from client.audit.report import render_report
from client.audit.selection import Kept, Selection
from client.audit.verify import verify_export
from client.catalogue import one_dataset
from client.code_folder import read_folder
from client.commands.job import write_outputs
from client.errors import AuditFailed, BundleRefused, HubUntrusted, JobNotReleased, TrialFailed, UsageRefused
from client.federation import Federation
from client.job_trial import try_job
from client.jobs import find_job, jobs
from protocol import canonical
from protocol.job_bundle import read_bundle
from protocol.job_outputs import bundle_context, output_commitment, outputs_context, outputs_of
from protocol.job_statements import JobAccepted, JobRefused, JobReleased
from protocol.sealing.envelope import open_envelope, seal_envelope
from tests.unit.client.conftest import START, World

SILO = "silo:cleveland"
CODE = "def main(rows, out):\n    (out / 'n').write_text(str(len(rows['age'])))\n"
OUTPUTS = outputs_of({"n": b"303"})
ASKED = {
    "dataset": "heart", "columns": ["age"], "silo": "cleveland", "purpose": "medical-research", "reason": "How many?",
}  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "ages").mkdir()
    (tmp_path / "ages" / "analysis.py").write_text(CODE)
    return tmp_path / "ages"


@pytest.fixture
def fed(world: World, grace_key: Path, monkeypatch: pytest.MonkeyPatch) -> Federation:
    """Grace at a hub that also keeps the blobs of jobs."""
    handle = World.handle

    def with_blobs(self: World, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        if not path.startswith("/v1/jobs/blobs/"):
            return handle(self, request)
        if request.method == "PUT":
            self.blobs[path.rsplit("/", 1)[1]] = request.content
            return httpx.Response(201)
        return httpx.Response(200, content=self.blobs[path.rsplit("/", 1)[1]])

    monkeypatch.setattr(World, "handle", with_blobs)
    return Federation(world.connect(grace_key))


def accept(world: World, job: str, bundle: str, issuer: str = SILO) -> None:
    world.say(JobAccepted, issuer, job=job, bundle=bundle, policy="1" * 64)


def release(world: World, job: str, salt: bytes = bytes(32), committed: bytes = b"") -> str:
    """The outputs sealed and let go; with a commitment to other bytes where ``committed`` is given."""
    document = OUTPUTS.encode()
    sealed = seal_envelope(salt + document, world.grace.receiving.public, outputs_context(job, "cleveland", "grace"))
    digest = canonical.digest(sealed)
    world.blobs[digest] = sealed
    commitment = output_commitment(salt, committed or document)
    world.say(JobReleased, SILO, job=job, commitment=commitment, blob=digest, size=len(sealed), privacy="none")
    return digest


def test_code_is_sealed_for_its_silo_and_its_outputs_are_opened_and_checked(world: World, fed: Federation, folder):
    job = fed.jobs.submit(folder, **ASKED)
    asked = find_job(fed.connection, job.id).asked
    context = bundle_context(asked.bundle, "grace", "cleveland")
    opened = open_envelope(world.blobs[asked.blob], world.silos["cleveland"].receiving.private, context)
    assert read_bundle(opened) == read_folder(folder)
    assert CODE.encode() not in world.blobs[asked.blob]
    assert (job.status, job.silo, [one.id for one in fed.jobs.all()]) == ("submitted", "cleveland", [job.id])
    with pytest.raises(JobNotReleased, match="is submitted"):
        job.outputs()
    accept(world, job.id, asked.bundle)
    release(world, job.id)
    assert (job.status, job.outputs()) == ("released", {"n": b"303"})


def test_a_refused_job_tells_its_owners_reason_and_a_withdrawn_one_is_over(world: World, fed: Federation, folder):
    job = fed.jobs.submit(folder, **ASKED)
    world.say(JobRefused, SILO, job=job.id, rule="owner", reason="Not our question.", decided_by="owner")
    assert (job.status, job.reason) == ("refused", "Not our question.")
    with pytest.raises(JobNotReleased, match="Not our question"):
        job.outputs()
    other = fed.jobs.submit(folder, **ASKED)
    other.withdraw()
    assert other.status == "withdrawn"


def test_outputs_that_the_hub_swapped_or_the_silo_did_not_commit_to_are_refused(world, fed: Federation, folder):
    job = fed.jobs.submit(folder, **ASKED)
    accept(world, job.id, find_job(fed.connection, job.id).asked.bundle)
    digest = release(world, job.id)
    honest = world.blobs[digest]
    world.blobs[digest] = honest[:-1] + bytes([honest[-1] ^ 1])
    with pytest.raises(BundleRefused, match="not the one that the silo sealed"):
        job.outputs()
    other = fed.jobs.submit(folder, **ASKED)
    accept(world, other.id, find_job(fed.connection, other.id).asked.bundle)
    release(world, other.id, committed=b"something else")
    with pytest.raises(BundleRefused, match="committed"):
        other.outputs()


def test_outputs_of_another_job_do_not_open_as_this_ones(world: World, fed: Federation, folder):
    first, second = (fed.jobs.submit(folder, **ASKED) for _ in range(2))
    for job in (first, second):
        accept(world, job.id, find_job(fed.connection, job.id).asked.bundle)
    digest = release(world, first.id)
    fields = {"commitment": output_commitment(bytes(32), OUTPUTS.encode()), "privacy": "none"}
    world.say(JobReleased, SILO, job=second.id, blob=digest, size=len(world.blobs[digest]), **fields)
    assert first.outputs() == {"n": b"303"}
    with pytest.raises(BundleRefused, match="do not open"):
        second.outputs()


def test_an_approval_that_another_silo_gave_is_found_by_researcher_and_officer(world, fed: Federation, folder):
    job = fed.jobs.submit(folder, **ASKED)
    accept(world, job.id, find_job(fed.connection, job.id).asked.bundle, "silo:hungarian")
    fed.connection.log.refresh()
    with pytest.raises(HubUntrusted, match="job rule 2"):
        jobs(fed.connection)
    with pytest.raises(AuditFailed, match="job rule 2") as failed:
        verify_export(world.export(), world.founding)
    assert failed.value.leaf == len(world.leaves) - 1


def test_an_officer_finds_a_release_that_nobody_approved_and_one_of_other_code(world: World, fed: Federation, folder):
    job = fed.jobs.submit(folder, **ASKED)
    honest = len(world.leaves)
    release(world, job.id)
    with pytest.raises(AuditFailed, match="which is submitted"):
        verify_export(world.export(), world.founding)
    del world.leaves[honest:]
    accept(world, job.id, "0" * 64)
    with pytest.raises(AuditFailed, match="another bundle"):
        verify_export(world.export(), world.founding)


def test_the_report_says_who_asked_what_became_of_it_and_that_no_budget_covers_it(world, fed: Federation, folder):
    job = fed.jobs.submit(folder, **{**ASKED, "reason": "<b>How many?</b>"})
    accept(world, job.id, find_job(fed.connection, job.id).asked.bundle)
    release(world, job.id)
    for selection, there in ((Selection(), True), (Selection(silo="hungarian"), False)):
        kept = Kept(selection)
        page = render_report(verify_export(world.export(), world.founding, seen=kept), kept, START)
        assert (job.id[:12] in page, "not differentially private" in page) == (there, there)
    kept = Kept(Selection(silo="cleveland"))
    page = render_report(verify_export(world.export(), world.founding, seen=kept), kept, START)
    assert "&lt;b&gt;How many?" in page and "<b>How" not in page
    for stage in ("submitted 2026", "accepted 2026", "released 2026"):
        assert stage in page


def test_what_can_not_be_asked_is_refused_before_anything_is_sent(world: World, fed: Federation, folder):
    for changes, why in (
        ({"dataset": "wages"}, "no dataset of this name"),
        ({"columns": ["salary"]}, "no column salary"),
        ({"silo": "mallory"}, "no dataset of this name"),
        ({"purpose": "curiosity"}, "must be one of"),
        ({"reason": "fine\u202egnp"}, "reason"),
        ({"columns": []}, "columns"),
    ):
        with pytest.raises(UsageRefused, match=why):
            fed.jobs.submit(folder, **{**ASKED, **changes})
    assert world.blobs == {} and not any(call.startswith("PUT") for call in world.calls)


def test_a_folder_is_read_without_what_it_points_to(folder: Path, tmp_path: Path):
    (folder / ".secret").write_text("x")
    (folder / "__pycache__").mkdir()
    (folder / "__pycache__" / "x.pyc").write_bytes(b"\x00")
    assert list(read_folder(folder).texts) == ["analysis.py"]
    (folder / "data").symlink_to("/etc")
    with pytest.raises(UsageRefused, match="no links"):
        read_folder(folder)
    (folder / "data").unlink()
    (folder / "data.bin").write_bytes(b"\xff")
    with pytest.raises(UsageRefused, match="UTF-8"):
        read_folder(folder)
    with pytest.raises(UsageRefused, match="not a folder"):
        read_folder(tmp_path / "nothing")


def test_a_trial_runs_the_code_on_mock_rows_and_sends_nothing(world: World, fed: Federation, folder: Path):
    before = len(world.calls)
    trial = fed.jobs.trial(folder, dataset="heart", columns=["age"], silo="cleveland")
    assert (trial.finished, trial.rows, trial.outputs.contents) == (True, 303, {"n": b"303"})
    assert len(world.calls) == before
    dataset = one_dataset(fed.connection, "heart")["cleveland"]
    (folder / "analysis.py").write_text("import os\ndef main(rows, out):\n    print(os.environ)\n    os._exit(0)\n")
    with pytest.raises(TrialFailed, match="no outputs that can be read"):
        try_job(read_folder(folder), dataset, ["age"], 60, 2048)
    (folder / "analysis.py").write_text("import time\ndef main(rows, out):\n    time.sleep(60)\n")
    with pytest.raises(TrialFailed, match="longer than 1 s"):
        try_job(read_folder(folder), dataset, ["age"], 1, 2048)


def test_outputs_are_written_for_their_reader_alone_and_never_over_anything(tmp_path: Path):
    outputs = outputs_of({"a/b.txt": b"x", "c": base64.b64decode("AAE=")})
    write_outputs(outputs, tmp_path / "got")
    found = {path.name: path.stat().st_mode & 0o777 for path in (tmp_path / "got").rglob("*")}
    assert found == {"a": 0o700, "b.txt": 0o600, "c": 0o600}
    with pytest.raises(UsageRefused, match="exists already"):
        write_outputs(outputs, tmp_path / "got")
