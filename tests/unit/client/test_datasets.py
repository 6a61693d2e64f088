"""What a researcher sees of the consortium's datasets: all that was published, mock rows, and nothing else."""

import csv
import json
from pathlib import Path

import pytest

from client.catalogue import DatasetAtSilo, about, datasets
from client.errors import PrivateRefused
from protocol import canonical
from protocol.charter import Charter, charter_digest
from protocol.mock import MARK, NOTICE
from tests.unit.client.conftest import ROWS, World
from tests.unit.client.test_command import Command, command  # noqa: F401  # the fixture


@pytest.fixture
def heart(world: World, grace_key: Path) -> dict[str, DatasetAtSilo]:
    return datasets(world.connect(grace_key))["heart"]


def test_datasets_are_listed_by_silo_with_counts_to_two_digits(command: Command, grace_key: Path) -> None:  # noqa: F811
    code, out, _ = command("datasets", "--key", str(grace_key))
    assert code == 0
    for silo, count in (("cleveland", "about 300"), ("hungarian", "about 260"), ("switzerland", "about 46")):
        assert any(silo in line and count in line and "heart" in line for line in out.splitlines())
    assert "303" not in out


def test_a_schema_is_shown_once_and_says_where_a_silo_differs(
    command: Command,  # noqa: F811
    world: World,
    grace_key: Path,
) -> None:
    code, out, _ = command("datasets", "heart", "--key", str(grace_key))
    assert code == 0 and out.count("18 to 100 years") == 1 and "mmol/l" not in out
    held = datasets(world.connect(grace_key))["heart"]["cleveland"].published
    other = tuple(c.model_copy(update={"unit": "mmol/l"}) if c.name == "chol" else c for c in held.columns)
    fields = held.model_dump(exclude={"type", "issuer", "issued_at", "nonce", "journal_head", "columns"})
    world.say(type(held), "silo:switzerland", columns=other, **fields)
    _, out, _ = command("datasets", "heart", "--key", str(grace_key))
    assert any("mmol/l" in line and "switzerland" in line for line in out.splitlines())


def test_mock_rows_are_shown_marked_and_written_marked(
    command: Command,  # noqa: F811
    grace_key: Path,
    tmp_path: Path,
) -> None:
    code, out, _ = command("datasets", "heart", "--mock", "--rows", "2", "--key", str(grace_key))
    assert code == 0 and "MOCK: heart at cleveland" in out and "mock-2" in out
    assert " ".join(NOTICE.split()) in " ".join(out.split())
    table = tmp_path / "mock.csv"
    asked = ("datasets", "heart", "--csv", str(table), "--rows", "20", "--silo", "switzerland", "--key", str(grace_key))
    assert command(*asked)[0] == 0
    with table.open(newline="") as file:
        lines = list(csv.reader(file))
    assert len(lines) == 21 and lines[0][0] == MARK and all(line[0].startswith("mock-") for line in lines[1:])
    before = table.read_bytes()
    code, _, err = command(*asked)
    assert code == 2 and "exists already" in err and table.read_bytes() == before


def test_the_rows_that_scripts_get_are_those_of_the_sdk(
    command: Command,  # noqa: F811
    grace_key: Path,
    heart: dict[str, DatasetAtSilo],
) -> None:
    asked = ("datasets", "heart", "--mock", "--silo", "hungarian", "--json", "--key", str(grace_key))
    shown = json.loads(command(*asked)[1])
    assert shown["mock"] is True and shown["rows"] == heart["hungarian"].mock.values[:5].tolist()
    listed = json.loads(command("datasets", "--json", "--key", str(grace_key))[1])
    assert {silo: one["rows"] for silo, one in listed["heart"].items()} == ROWS


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("lungs",), "no member has registered a dataset lungs; there are: heart"),
        (("--mock",), "say of which dataset"),
        (("heart", "--mock", "--silo", "atlantis"), "it is at cleveland, hungarian"),
        (("heart", "--mock", "--rows", "999999999"), "at most"),
    ],
)
def test_what_cannot_be_shown_is_refused_with_what_could(
    command: Command,  # noqa: F811
    grace_key: Path,
    arguments: tuple[str, ...],
    said: str,
) -> None:
    code, out, err = command("datasets", *arguments, "--key", str(grace_key))
    assert code in (1, 2) and not out and said in err


def test_a_dataset_has_the_names_that_pysyft_users_know(heart: dict[str, DatasetAtSilo]) -> None:
    one = heart["cleveland"]
    assert (one.name, one.owner, len(one.mock.values)) == ("heart", "cleveland", ROWS["cleveland"])
    assert repr(one) == "<dataset heart of cleveland: 14 columns, about 300 rows>"


def test_the_private_side_is_refused_with_what_to_do_instead(heart: dict[str, DatasetAtSilo]) -> None:
    with pytest.raises(PrivateRefused, match=r"never leave cleveland.*\.mock.*consortia study propose"):
        _ = heart["cleveland"].private


def test_a_dataset_of_a_silo_that_is_no_member_any_more_is_not_listed(world: World, grace_key: Path) -> None:
    older = world.charters[-1]
    value = older.model_dump(mode="json") | {"version": older.version + 1, "previous": charter_digest(older)}
    value["members"] = [member for member in value["members"] if member["silo"] != "switzerland"]
    world.publish(Charter.model_validate_json(canonical.encode(value)))
    assert sorted(datasets(world.connect(grace_key))["heart"]) == ["cleveland", "hungarian", "va-long-beach"]


@pytest.mark.parametrize(
    ("rows", "shown"), [(7, "7"), (46, "46"), (303, "300"), (1_250, "1,300"), (999, "1,000"), (10**6, "1,000,000")]
)
def test_counts_are_shown_to_two_digits(rows: int, shown: str) -> None:
    assert about(rows) == f"about {shown}"
