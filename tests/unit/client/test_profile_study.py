"""A profile study, from a dataset's published schema to a trial of it by the real command."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from client.errors import UsageRefused
from client.profile_draft import ProfileAsked, profile_draft
from client.registrations import by_members
from client.studies import draft_contract
from protocol.statistics_study import StatisticsContract
from tests.unit.client.conftest import World
from tests.unit.client.test_command import Command, command  # noqa: F401  # the fixture

BASIS = "Ethics vote 17/2026."


def profile(command: Command, key: Path, out: Path, *more: str) -> tuple[int, str, str]:  # noqa: F811
    asked = ("study", "profile", "heart", "--epsilon", "1", "--legal-basis", BASIS, "-o", str(out), "--key", str(key))
    return command(*asked, *more)


def test_a_profile_of_a_dataset_is_a_draft_that_can_be_proposed(
    command: Command,  # noqa: F811
    world: World,
    grace_key: Path,
    tmp_path: Path,
) -> None:
    code, out, _ = profile(command, grace_key, tmp_path / "profile.yaml")
    assert code == 0 and "consortia study propose" in out
    contract = draft_contract(world.connect(grace_key), tmp_path / "profile.yaml")
    assert isinstance(contract, StatisticsContract)
    held = by_members(world.connect(grace_key), "heart")["cleveland"].columns
    assert [column.name for column in contract.data.reads] == [column.name for column in held]
    kinds = [query.question.kind for query in contract.queries]
    assert kinds[:2] == ["count", "missing"] and len(kinds) == 2 + len(held)
    assert {kind: kinds[2:].count(kind) for kind in ("count", "histogram")} == {
        "count": sum(column.kind == "binary" for column in held),
        "histogram": sum(column.kind == "number" for column in held),
    }
    assert (contract.privacy.epsilon, contract.privacy.unit, contract.minimum_cell) == (1.0, "subject", 10)
    assert "no exact smallest or largest value" in (tmp_path / "profile.yaml").read_text()
    code, _, err = profile(command, grace_key, tmp_path / "profile.yaml")
    assert code != 0 and "name a new file" in err


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--columns", "age,height"), "height is no column of heart"),
        (("--silos", "cleveland,atlantis"), "atlantis has no dataset heart"),
        (("--silos", "cleveland,hungarian"), "a sum needs at least 3"),
    ],
)
def test_a_profile_of_what_is_not_there_is_refused(
    command: Command,  # noqa: F811
    grace_key: Path,
    tmp_path: Path,
    more: tuple[str, ...],
    said: str,
) -> None:
    code, _, err = profile(command, grace_key, tmp_path / "profile.yaml", *more)
    assert code != 0 and said in " ".join(err.split())
    assert not (tmp_path / "profile.yaml").exists()


def test_columns_that_silos_do_not_have_alike_are_left_out_and_ranges_are_the_widest(
    world: World, grace_key: Path
) -> None:
    held = by_members(world.connect(grace_key), "heart")
    wider = {"age": {"minimum": 10.0}, "chol": {"unit": "mmol/l"}}
    columns = tuple(one.model_copy(update=wider.get(one.name, {})) for one in held["cleveland"].columns)
    other = held | {"cleveland": held["cleveland"].model_copy(update={"columns": columns})}
    asked = ProfileAsked("heart", "grace", 1.0, "method-research", BASIS, ("age", "chol"))
    text = profile_draft(asked, other, world.connect(grace_key).now())
    assert "minimum: 10.0" in text and "chol" not in text
    with pytest.raises(UsageRefused, match="alike in name, kind and unit"):
        profile_draft(replace(asked, columns=("chol",)), other, world.connect(grace_key).now())


def test_a_profile_is_tried_on_mock_rows_and_its_answers_fit_a_terminal_of_80_columns(
    command: Command,  # noqa: F811
    world: World,
    grace_key: Path,
    tmp_path: Path,
) -> None:
    draft, before = tmp_path / "profile.yaml", len(world.leaves)
    assert profile(command, grace_key, draft, "--columns", "age,sex_male,heart_disease")[0] == 0
    code, out, _ = command("study", "try", str(draft), "--key", str(grace_key))
    assert code == 0 and len(world.leaves) == before
    assert "missing_values: the share of rows that have no value, of age, sex_male" in " ".join(out.split())
    assert "the interval holds the noise" in out and "say nothing about the real data" in " ".join(out.split())
    assert max(len(line) for line in out.splitlines() if "│" in line) <= 80
    code, out, _ = command("study", "try", str(draft), "--json", "--key", str(grace_key))
    told = json.loads(out)
    rows, missing = told["answers"][0]["lines"][0], told["answers"][1]["lines"]
    assert rows["low"] <= told["exact_totals"]["rows"][0] <= rows["high"]
    assert [line["what"] for line in missing] == ["age", "sex_male", "heart_disease"]
    assert told["clipped"] == 0 and 0.99 < told["epsilon"] <= 1


def test_a_forecast_of_accuracy_is_refused_for_a_study_that_has_none(
    command: Command,  # noqa: F811
    grace_key: Path,
    tmp_path: Path,
) -> None:
    draft = tmp_path / "profile.yaml"
    assert profile(command, grace_key, draft)[0] == 0
    code, _, err = command("study", "simulate", str(draft), "--key", str(grace_key))
    assert code != 0 and "trains nothing; consortia study try shows its answers" in " ".join(err.split())
