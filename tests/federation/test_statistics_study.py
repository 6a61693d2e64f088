"""A statistics study from a researcher's draft to the answers on disk, with four hospitals' nodes and a hub."""

import json
import re

import numpy as np
import pytest

from client.federation import Federation, ReleasedStatistics
from compose.heart import HOSPITALS, hospital_tables
from compose.loopback import OFFICER, RESEARCHER
from protocol.round_statements import SpendReserved
from protocol.study_statements import StudyClosed
from protocol.yaml_draft import load_yaml
from tests.federation.rig.hospitals import Hospitals

pytestmark = pytest.mark.slow

SAMPLE = "docs/samples/statistics.yaml"


def test_a_researcher_gets_the_hospitals_counts_with_the_noise_that_was_charged(hospitals: Hospitals) -> None:
    group = hospitals.group
    draft = group.folder / "statistics.yaml"
    with open(SAMPLE, "rb") as file:
        draft.write_text(json.dumps({**load_yaml(file.read()), "lead": RESEARCHER, "recipients": [RESEARCHER]}))
    study = group.propose(draft)
    group.consortia("ada", "admin", "approve", study, "--yes")
    closed = hospitals.await_statement(StudyClosed, study)
    assert closed.outcome == "completed", closed.reason

    folder = group.folder / "answers"
    told = group.consortia_json(RESEARCHER, "study", "release", study, "--out", folder)
    assert {path.name for path in folder.iterdir()} == {"totals.json", "answers.json", "answers.csv", "report.md"}
    answers = {one["query"]: one for one in told["answers"]}
    assert json.loads((folder / "answers.json").read_text())["answers"] == told["answers"]

    tables = hospital_tables()
    assert len(HOSPITALS) == len(tables) == 4
    men = sum(int((table.features[:, 1] == 1).sum()) for table in tables.values())
    women = sum(len(table.features) for table in tables.values()) - men
    for line, truth in zip(answers["patients"]["lines"], (women, men), strict=True):
        assert abs(line["value"] - truth) < 6 * answers["patients"]["noise_deviation"]
    assert np.isclose(answers["patients"]["noise_deviation"], 2 * 4.5504, rtol=1e-3)

    released = Federation(hospitals.researcher).study(study).release()
    assert isinstance(released, ReleasedStatistics)
    assert [line.estimate.value for line in released.answers["patients"].lines if line.estimate] == [
        line["value"] for line in answers["patients"]["lines"]
    ]

    spent = hospitals.statements(SpendReserved, study)
    assert {one.issuer for one in spent} == {f"silo:{name}" for name in HOSPITALS}
    assert all([event.kind for event in one.events] == ["gaussian", "gaussian"] for one in spent)
    report = (folder / "report.md").read_text()
    assert "Who the patients are" in report and re.search(r"confirmed by .*cleveland", report)

    page = group.folder / "statistics.html"
    export = group.folder / "statistics.jsonl"
    group.consortia(OFFICER, "audit", "export", "--out", export)
    group.processes.run(["consortia", "audit", "report", export, "--charter", group.founding, "--out", page])
    assert "Query patients" in page.read_text() and "round 0, statistics" in page.read_text()
