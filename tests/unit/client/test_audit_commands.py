"""The officer's commands as they are typed: what they write, what they say, with which exit code."""

import json
from pathlib import Path

import pytest

from tests.unit.client.conftest import World, make_contract, run_study
from tests.unit.client.test_command import Command, command  # noqa: F401  # the fixture


@pytest.fixture
def log(world: World, tmp_path: Path) -> Path:
    run_study(world, make_contract(world))
    world.cosign("cleveland", "hungarian", "switzerland")
    path = tmp_path / "log.jsonl"
    path.write_text("".join(world.export()), encoding="utf-8")
    return path


def test_an_entry_is_proved_and_the_proof_checked(command: Command, world: World, log: Path) -> None:  # noqa: F811
    to, at = log.with_name("proof.json"), ("--charter", world.founding)
    code, _, err = command("audit", "prove", "18", str(log), *at, "--out", str(to))
    assert code == 0 and "consortia audit check-proof" in err
    code, out, _ = command("audit", "check-proof", str(to), *at)
    assert code == 0 and "PROVED" in out and "leaf 18: study-proposed by person:grace" in out
    assert "3 of 4 witnesses" in out
    shown = json.loads(command("audit", "check-proof", str(to), *at, "--json")[1])
    assert shown["entry"] == world.leaves[18][0].model_dump(mode="json") and len(shown["cosigned"]) == 3
    assert command("audit", "prove", world.leaves[18][0].digest, str(log), *at)[1].encode() == to.read_bytes()


def test_a_changed_proof_ends_in_red_with_exit_code_1(command: Command, world: World, log: Path) -> None:  # noqa: F811
    to, at = log.with_name("proof.json"), ("--charter", world.founding)
    command("audit", "prove", "18", str(log), *at, "--out", str(to))
    to.write_bytes(to.read_bytes().replace(b"hospitals", b"hospitalz"))
    code, out, _ = command("audit", "check-proof", str(to), *at)
    assert code == 1 and "NOT VERIFIED" in out
    code, out, _ = command("audit", "check-proof", str(to), *at, "--json")
    assert code == 1 and json.loads(out)["verified"] is False
    assert command("audit", "check-proof", str(log.with_name("none")), *at)[0] == 2


def test_an_export_is_there_whole_or_not_at_all(
    command: Command,  # noqa: F811
    world: World,
    log: Path,
    ada_key: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    to, at = log.with_name("fetched.jsonl"), ("--key", str(ada_key), "--charter", world.founding)
    world.faults += [503]
    assert command("audit", "export", *at, "--out", str(to))[0] == 0
    assert to.read_text(encoding="utf-8") == "".join(world.export())
    monkeypatch.setattr("client.commands.audit.MAX_EXPORT_BYTES", 1000)
    other = log.with_name("cut.jsonl")
    code, _, err = command("audit", "export", *at, "--out", str(other))
    assert code == 1 and "longer than the 1000 bytes" in err.replace("\n", " ")
    assert not other.exists() and not list(log.parent.glob("*.partial"))


@pytest.mark.parametrize("form", ["ocsf", "cef"])
def test_a_verified_log_becomes_events(command: Command, world: World, log: Path, form: str) -> None:  # noqa: F811
    to, at = log.with_name("events"), ("--charter", world.founding)
    code, out, _ = command("audit", "export", "--format", form, "--from-log", str(log), *at, "--out", str(to))
    assert code == 0 and f"{len(world.leaves)} events ({form})" in out
    assert len(to.read_text(encoding="utf-8").splitlines()) == len(world.leaves)


def test_an_export_says_what_it_needs(command: Command, world: World, log: Path) -> None:  # noqa: F811
    to = ("--out", str(log.with_name("x")))
    for given in (("--format", "cef"), ("--from-log", str(log)), (), ("--format", "ocsf", "--from-log", str(log))):
        code, _, err = command("audit", "export", *given, *to)
        assert code == 2 and err.startswith("error: --")


def test_a_report_of_a_silo_and_a_period_is_written(command: Command, world: World, log: Path) -> None:  # noqa: F811
    to = log.with_name("report.html")
    filters = ("--silo", "cleveland", "--from", "2026-11-22", "--to", "2026-11-22")
    code, _, err = command("audit", "report", str(log), "--charter", world.founding, *filters, "--out", str(to))
    assert code == 0 and "report" in err
    page = to.read_text(encoding="utf-8")
    assert "<dd>cleveland</dd>" in page and "from 2026-11-22 to the end of 2026-11-22 (UTC)" in page


def test_verify_says_how_many_witnesses_cosigned(command: Command, world: World, log: Path) -> None:  # noqa: F811
    at = (str(log), "--charter", world.founding)
    assert "3 of 4 witnesses cosigned the log" in command("audit", "verify", *at)[1].replace("\n", " ")
    assert json.loads(command("audit", "verify", *at, "--json", "--processes", "2")[1])["witnesses"]["quorum"] == 3
