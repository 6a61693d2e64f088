"""What people type wrong, or on purpose: each is refused with its reason, and nothing is kept."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from client.studies import statuses
from compose.demo import DRAFT
from compose.heart import schema_path
from compose.loopback import ADMIN, RESEARCHER
from protocol.membership_statements import DatasetRegistered
from protocol.yaml_draft import load_yaml
from tests.federation.rig.hospitals import Hospitals

pytestmark = pytest.mark.slow


def joining(hospitals: Hospitals, folder: Path, code: str, name: str) -> list[str | Path]:
    return ["consortia-silo", "join", hospitals.group.url, "--code", code, "--name", name, "--folder", folder]


def test_an_invitation_serves_once_and_only_the_silo_it_names(hospitals: Hospitals, tmp_path: Path) -> None:
    invited = hospitals.group.consortia_json(ADMIN, "admin", "invite", "lakeside")["code"]
    said = hospitals.refused(joining(hospitals, tmp_path / "other", invited, "seaside"))
    assert "this code doesn't invite silo seaside" in said
    hospitals.group.processes.run(joining(hospitals, tmp_path / "first", invited, "lakeside"))
    said = hospitals.refused(joining(hospitals, tmp_path / "second", invited, "lakeside"))
    assert "invitation" in said and "used" in said
    waiting = hospitals.group.consortia_json(ADMIN, "admin", "enrolments")
    assert [one["silo"] for one in waiting] == ["lakeside"]


def test_an_invitation_with_a_wrong_code_or_of_another_consortium_is_refused(
    hospitals: Hospitals, tmp_path: Path
) -> None:
    invited = hospitals.group.consortia_json(ADMIN, "admin", "invite", "hillside")["code"]
    code, _, charter = invited.partition(".")
    said = hospitals.refused(joining(hospitals, tmp_path / "a", f"{code}.{'0' * 64}", "hillside"))
    assert "not of the consortium you were invited to" in said
    said = hospitals.refused(joining(hospitals, tmp_path / "b", f"{code[:-4]}0000.{charter}", "hillside"))
    assert "this code doesn't invite silo hillside" in said
    said = hospitals.refused(joining(hospitals, tmp_path / "c", code, "hillside"))
    assert "copied whole" in said


BAD_TABLES = {
    "a missing column": (lambda text: re.sub(r"(?m)^([^,\n]*),[^,\n]*", r"\1", text), "age"),
    "a text in a number": (lambda text: text.replace("\n1,63,", "\n1,sixty-three,", 1), "age"),
    "no rows": (lambda text: text.split("\n")[0] + "\n", "row"),
    "an empty file": (lambda text: "", ""),
}


@pytest.mark.parametrize("what", BAD_TABLES)
def test_a_table_that_does_not_fit_its_schema_is_refused_and_not_registered(
    hospitals: Hospitals, tmp_path: Path, what: str
) -> None:
    spoil, named = BAD_TABLES[what]
    data = hospitals.group.folder / "hospitals"
    text = (data / "cleveland.csv").read_text()
    (tmp_path / "bad.csv").write_text(spoil(text))
    assert spoil(text) != text
    source: list[str | Path] = ["--source", tmp_path / "bad.csv", "--schema", schema_path(data)]
    folder: list[str | Path] = ["--folder", hospitals.group.silo("cleveland")]
    terms = ["--rows", "303", "--epsilon", "8", "--delta", "0.001"]
    said = hospitals.refused(["consortia-silo", "dataset", "add", "spoilt", *source, *terms, *folder])
    assert named in said
    assert "sixty-three" not in said, "a refusal must not show what stands in a row"
    assert "spoilt" not in hospitals.group.processes.run(["consortia-silo", "dataset", "list", *folder])
    assert "spoilt" not in {body.dataset for _, body in hospitals.researcher.log.statements(DatasetRegistered)}


BAD_DRAFTS: dict[str, tuple[tuple[str, ...], Any, str]] = {
    "an unknown field": (("privacy", "noise"), 1, "privacy.noise"),
    "a negative epsilon": (("privacy", "epsilon"), -1, "privacy.epsilon"),
    "a delta of 1": (("privacy", "delta"), 1, "privacy.delta"),
    "a thousand million rounds": (("training", "rounds"), 1_000_000_000, "training.rounds"),
    "an epsilon for which no accountant has a noise": (("privacy", "epsilon"), 1e-12, "epsilon"),
    "an epsilon that rounds to nothing": (("privacy", "epsilon"), 1e-300, "epsilon"),
}


@pytest.mark.parametrize("what", BAD_DRAFTS)
def test_a_draft_that_cannot_be_a_contract_is_refused_by_its_field(
    hospitals: Hospitals, tmp_path: Path, what: str
) -> None:
    place, value, field = BAD_DRAFTS[what]
    draft = load_yaml(DRAFT.read_bytes())
    at = draft
    for step in place[:-1]:
        at = at[step]
    at[place[-1]] = value
    (tmp_path / "draft.yaml").write_text(json.dumps(draft))
    before = statuses(hospitals.researcher)
    speaker = hospitals.group.speaker(RESEARCHER)
    said = hospitals.ended(["consortia", "study", "propose", tmp_path / "draft.yaml", *speaker], status=2)
    assert field in said
    assert statuses(hospitals.researcher) == before
