"""Reviewed code from a researcher's folder to outputs that an owner let go, with every command a real process."""

import pytest

from compose.loopback import RESEARCHER
from compose.processes import CommandFailed
from tests.federation.rig.hospitals import Hospitals, eventually

pytestmark = pytest.mark.slow

SILO = "hungarian"
CODE = """
def main(rows, out):
    print("looking at", len(rows["age"]), "rows")
    (out / "mean.txt").write_text(f"{rows['age'].mean():.3f}")
"""


@pytest.fixture
def quick(hospitals: Hospitals):
    """A hospital that waits at the hub for a second at most."""
    hospitals.stop(SILO)
    hospitals.set_in(SILO, "silo.toml", "poll_wait_s", "1")
    hospitals.start(SILO)
    yield hospitals
    hospitals.stop(SILO)
    hospitals.set_in(SILO, "silo.toml", "poll_wait_s", "20")


def owner(hospitals: Hospitals, *words: str) -> str:
    return hospitals.group.processes.run(["consortia-silo", "job", *words, "--folder", hospitals.group.silo(SILO)])


def stands(hospitals: Hospitals, job: str) -> str:
    return next((one["stands"] for one in hospitals.group.silo_json(SILO, "job", "list") if one["job"] == job), "")


def last_word(text: str) -> str:
    """The digest that a command shows at its end."""
    return text.split()[-1]


def test_code_is_tried_on_mock_rows_submitted_read_approved_run_and_released(quick: Hospitals) -> None:
    group = quick.group
    folder, got, report = group.folder / "ages", group.folder / "got", group.folder / "jobs.html"
    folder.mkdir()
    (folder / "analysis.py").write_text(CODE)
    asked = [folder, "--dataset", "heart", "--columns", "age", "--silo", SILO]
    tried = group.consortia(RESEARCHER, "job", "try", *asked)
    assert "mock rows" in tried and "looking at" in tried
    why = ["--purpose", "medical-research", "--reason", "How old are the patients?"]
    made = group.consortia_json(RESEARCHER, "job", "submit", *asked, *why)
    job = made["jobs"][SILO]
    eventually(lambda: stands(quick, job) == "waiting for you", "the silo has read of the job")
    read = eventually(lambda: shown(quick, job), "the code is there to be read")
    assert "print(" in read and last_word(read) == made["bundle"]

    command = ["consortia-silo", "job", "run", job, "--folder", group.silo(SILO)]
    assert "it runs once it is approved" in quick.refused(command)
    command = ["consortia-silo", "job", "approve", job, "--digest", "0" * 64, "--folder", group.silo(SILO)]
    assert "not the digest of the job's code" in quick.refused(command)
    owner(quick, "approve", job, "--digest", made["bundle"])
    eventually(lambda: stands(quick, job) == "approved, not run yet", "the approval is in the log")

    quick.kill(SILO)
    assert "finished" in owner(quick, "run", job)
    quick.start(SILO)
    outputs = owner(quick, "outputs", job)
    assert "EXACT" in outputs and "mean.txt" in outputs and "looking at 261 rows" in outputs
    command = ["consortia", "job", "outputs", job, *group.speaker(RESEARCHER)]
    assert "nothing of it was released" in quick.refused(command)
    assert stage(quick, job) == "accepted"

    owner(quick, "release", job, "--digest", last_word(outputs))
    eventually(lambda: stage(quick, job) == "released", "the outputs are released")
    assert "no differential privacy" in group.consortia(RESEARCHER, "job", "outputs", job, "--out", got)
    assert 40 < float((got / "mean.txt").read_text()) < 60

    assert quick.log_verifies()
    words = [group.folder / "export.jsonl", "--charter", group.founding, "--out", report]
    group.processes.run(["consortia", "audit", "report", *words])
    assert job[:12] in report.read_text() and "not differentially private" in report.read_text()


def stage(hospitals: Hospitals, job: str) -> str:
    listed = hospitals.group.consortia_json(RESEARCHER, "job", "list")
    return next(one["stage"] for one in listed if one["job"] == job)


def shown(hospitals: Hospitals, job: str) -> str:
    try:
        return owner(hospitals, "read", job)
    except CommandFailed:
        return ""
