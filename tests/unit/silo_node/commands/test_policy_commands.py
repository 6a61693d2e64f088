"""``consortia-silo policy`` on the folder of a silo whose hub doesn't answer."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner

from policies import catalogue
from protocol.calibration import contract_of
from protocol.draft import read_draft
from protocol.study import contract_value, study_id
from silo_node.__main__ import app
from silo_node.errors import ConfigRefused, PolicyRefused
from tests.unit.silo_node.commands.conftest import DRAFT

COMMAND = Path(sys.executable).with_name("consortia-silo")
ALLOWING = {"max_epsilon": "5.0", "max_delta": "1e-3", "max_days": "3650"}


def run(*arguments: object) -> Any:
    return CliRunner().invoke(app, ["policy", *map(str, arguments)])


def told(*arguments: object) -> dict[str, Any]:
    value: dict[str, Any] = json.loads(run(*arguments, "--json").stdout)
    return value


def allow(folder: Path, **more: str) -> None:
    """Sets numbers in the limits file so that the sample draft keeps within them."""
    limits = folder / "limits.toml"
    changed = ALLOWING | more
    lines = []
    for line in limits.read_text().splitlines():
        name = line.partition(" = ")[0]
        lines.append(f"{name} = {changed[name]}" if name in changed else line)
    limits.write_text("\n".join(lines) + "\n")


def test_a_draft_is_weighed_rule_by_rule_before_anything_is_proposed(folder: Path) -> None:
    found = run("test", DRAFT, "--folder", folder)
    value = told("test", DRAFT, "--folder", folder)
    assert found.exit_code == 4
    assert (value["decision"], value["by"]) == ("refuse", ["epsilon-cap", "delta-cap", "expiry-near"])
    rules = {one["rule"]: one for one in value["rules"]}
    assert [one["line"] for one in value["rules"]] == sorted(one["line"] for one in value["rules"])
    assert rules["epsilon-cap"]["found"] == "epsilon is 5, at most 3 is allowed for a study"
    assert "at most 3" in rules["epsilon-cap"]["remedy"]
    assert (rules["purpose-allowed"]["says"], rules["owner-decides"]["says"]) == ("passes", "holds")
    for name in rules:
        assert name in found.stdout
    assert "Decision: refuse, by epsilon-cap, delta-cap, expiry-near." in found.stdout


def test_limits_that_cannot_be_used_replace_nothing(folder: Path, tmp_path: Path) -> None:
    files = [folder / "policy.cedar", folder / "limits.toml"]
    before = [file.read_bytes() for file in files]
    (tmp_path / "mine.toml").write_text("max_epsilom = 3.0\n# End of the limits.\n")
    found = run("use", "hospital", "--limits", tmp_path / "mine.toml", "--folder", folder)
    assert isinstance(found.exception, PolicyRefused)
    assert "mine.toml: max_epsilom" in str(found.exception)
    assert [file.read_bytes() for file in files] == before


def test_no_rules_are_put_where_no_silo_is(tmp_path: Path) -> None:
    found = run("use", "hospital", "--folder", tmp_path / "nowhere")
    assert isinstance(found.exception, ConfigRefused)
    assert "join a consortium first" in str(found.exception)


@pytest.mark.parametrize(("mode", "status", "decision"), [('"ask"', 3, "hold"), ('"within-limits"', 0, "allow")])
def test_the_exit_status_says_what_was_decided(folder: Path, mode: str, status: int, decision: str) -> None:
    allow(folder, accept=mode)
    found = run("test", DRAFT, "--folder", folder, "--json")
    assert (found.exit_code, json.loads(found.stdout)["decision"]) == (status, decision)


def test_a_contract_is_weighed_like_the_draft_that_it_was_made_from(folder: Path, tmp_path: Path) -> None:
    draft = read_draft(DRAFT)
    contract = contract_of(draft, {one.silo: 303 for one in draft.silos})
    path = tmp_path / "contract.json"
    path.write_text(json.dumps(contract_value(contract)))
    value = told("test", path, "--folder", folder)
    assert value == told("test", DRAFT, "--folder", folder)
    assert value["study"] == study_id(contract)


@pytest.mark.parametrize(("step", "status"), [("round", 0), ("release", 3)])
def test_later_steps_can_be_asked_about_too(folder: Path, step: str, status: int) -> None:
    allow(folder)
    found = run("test", DRAFT, "--folder", folder, "--step", step, "--json")
    assert found.exit_code == status
    assert "this silo accepted it" in json.loads(found.stdout)["assumed"]


def test_what_is_left_of_the_budget_counts(folder: Path, tmp_path: Path) -> None:
    allow(folder, max_epsilon="50.0")
    draft = yaml.safe_load(DRAFT.read_text())
    draft["privacy"] |= {"epsilon": 20, "delta": 0.001}
    path = tmp_path / "draft.yaml"
    path.write_text(yaml.safe_dump(draft).replace("2030-12-31 00:00:00+00:00", "2030-12-31T00:00:00Z"))
    value = told("test", path, "--folder", folder)
    assert value["by"] == ["within-budget"]
    assert "100.00 % is left" in next(one["found"] for one in value["rules"] if one["rule"] == "within-budget")


def test_another_set_or_other_limits_can_be_tried_without_being_put_in_force(folder: Path, tmp_path: Path) -> None:
    before = (folder / "policy.cedar").read_bytes(), (folder / "limits.toml").read_bytes()
    mine = tmp_path / "limits.toml"
    mine.write_text(catalogue.limits_text("bank"))
    value = told("test", DRAFT, "--policy", "bank", "--limits", mine, "--folder", folder)
    assert {"purpose-allowed", "epsilon-cap"} <= set(value["by"])
    assert ((folder / "policy.cedar").read_bytes(), (folder / "limits.toml").read_bytes()) == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("format: consortia-study/2\n", "format: is neither consortia-study/1 nor consortia-draft/1"),
        ("- a\n", "format: is neither"),
        ("format: consortia-study/1\n", "study contract refused"),
        ("format: consortia-draft/1\n", "draft refused"),
        ("format: [\n", "not YAML"),
    ],
)
def test_a_file_that_holds_no_study_is_refused_with_its_fault(
    folder: Path, tmp_path: Path, text: str, says: str
) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    with pytest.raises(PolicyRefused, match=says):
        CliRunner().invoke(app, ["policy", "test", str(path), "--folder", str(folder)], catch_exceptions=False)


def test_a_study_that_leaves_this_silo_out_is_refused(folder: Path, tmp_path: Path) -> None:
    path = tmp_path / "draft.yaml"
    path.write_text(DRAFT.read_text().replace("silo: cleveland", "silo: basel"))
    with pytest.raises(PolicyRefused, match="not this silo, cleveland"):
        CliRunner().invoke(app, ["policy", "test", str(path), "--folder", str(folder)], catch_exceptions=False)


def test_a_broken_policy_is_refused_by_line_and_never_replaced_by_another(folder: Path) -> None:
    path = folder / "policy.cedar"
    half = path.read_text()[: path.stat().st_size // 2]
    path.write_text(half)
    for arguments in (["check"], ["test", DRAFT], ["show"], ["format"], ["diff", "hospital"]):
        found = run(*arguments, "--folder", folder)
        assert (found.exit_code, found.stdout) == (1, "")
        assert "policy.cedar: line " in str(found.exception)
    assert path.read_text() == half


def test_as_a_process_the_refusal_is_one_line_and_the_status_is_no_verdict(folder: Path) -> None:
    (folder / "policy.cedar").write_text("permit (")
    command = [COMMAND, "policy", "test", DRAFT, "--folder", folder]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stdout, ended.stderr.count("\n")) == (1, "", 1)
    assert "policy.cedar: line 1: Policy parse error" in ended.stderr


def test_check_takes_a_file_a_name_or_the_rules_in_force(folder: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine.cedar"
    mine.write_text(catalogue.policy_text("bank"))
    for name in ([], ["research"], [mine]):
        found = run("check", *name, "--folder", folder)
        assert found.exit_code == 0 and "can be used" in found.stdout
    mine.write_text("permit (")
    assert run("check", mine, "--folder", folder).exit_code == 1


def test_format_writes_only_where_the_layout_differs_and_not_when_asked_to_check(folder: Path) -> None:
    path = folder / "policy.cedar"
    assert "already" in run("format", "--folder", folder).stdout
    crowded = path.read_text().replace("forbid (principal, action, resource)\n", "forbid (principal,action,resource) ")
    path.write_text(crowded)
    assert run("format", "--check", "--folder", folder).exit_code == 1
    assert path.read_text() == crowded
    assert run("format", "--folder", folder).exit_code == 0
    assert path.read_text() == catalogue.policy_text("baseline")
    assert path.stat().st_mode & 0o777 == 0o600


def test_diff_tells_rules_and_verdicts(folder: Path) -> None:
    value = told("diff", "hospital", "--folder", folder)
    assert {one["rule"] for one in value["rules"] if one["change"] == "added"} >= {"sandbox-full", "ethics-vote"}
    assert any(turn["rule"] == "sandbox-full" and turn["after"] == "hold" for turn in value["verdicts"])


def test_show_lists_every_rule_with_its_reason(folder: Path) -> None:
    value = told("show", "--folder", folder)
    assert [one["rule"] for one in value["rules"]] == [
        one["rule"] for one in told("show", "baseline", "--folder", folder)["rules"]
    ]
    assert all(one["reason"] for one in value["rules"])
