"""The ``consortia`` command: what a person sees, and with which exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from client import __main__
from client.commands.study import _doing
from client.connection import Surroundings
from client.follow import Notice
from protocol import study_statements
from protocol.routes import StudyStatus
from protocol.study import study_id
from tests.unit.client.conftest import HUB, World, make_contract, run_study
from tests.unit.client.test_admin import enrol, status, words_of

Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def command(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs the command against the world's hub; gives (exit code, stdout, stderr)."""

    def around(notice: Notice) -> Surroundings:
        transport = httpx.MockTransport(world.handle)
        return Surroundings(notice=notice, transport=transport, clock=lambda: world.seconds, pause=lambda _: None)

    monkeypatch.setattr("client.commands.options.Surroundings", around)
    monkeypatch.setenv("CONSORTIA_HUB", HUB)
    monkeypatch.delenv("CONSORTIA_KEY", raising=False)
    monkeypatch.delenv("CONSORTIA_CHARTER", raising=False)

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["consortia", *arguments])
        with pytest.raises(SystemExit) as ended:
            __main__.main()
        shown = capsys.readouterr()
        return int(ended.value.code or 0), shown.out, shown.err

    return run


def test_keys_are_made_and_shown_by_their_words(command: Command, tmp_path: Path) -> None:
    key = tmp_path / "me.key"
    code, out, _ = command("keys", "new", "ada", "--out", str(key), "--json")
    assert code == 0
    words = json.loads(out)["words"]
    assert command("keys", "show", str(tmp_path / "me.card.json"))[1].strip() == f"ada: {words}"
    code, _, err = command("keys", "new", "Ada Lovelace", "--out", str(key))
    assert code == 2 and err.startswith("error: name")


def test_a_pinned_charter_is_announced_at_first_use_only(command: Command, world: World, ada_key: Path) -> None:
    _, out, err = command("admin", "charter", "show", "--key", str(ada_key))
    assert world.founding in out and "compare it with the admin's" in err.replace("\n", " ")
    assert command("admin", "charter", "show", "--key", str(ada_key))[2] == ""


def test_a_silo_is_invited_and_admitted_from_the_terminal(command: Command, world: World, ada_key: Path) -> None:
    at = ("--key", str(ada_key), "--charter", world.founding)
    code, out, _ = command("admin", "invite", "new-silo", *at)
    assert code == 0 and out.split("\n")[0].endswith("." + world.founding)
    silo = enrol(world, "new-silo")
    assert words_of(silo) in command("admin", "enrolments", *at, "--json")[1]
    code, _, err = command("admin", "admit", "new-silo", "--words", "dobuf sibol", *at)
    assert code == 2 and "someone may be between you" in err
    assert command("admin", "admit", "new-silo", "--words", words_of(silo), *at)[0] == 0


def test_the_contract_is_shown_before_it_is_signed_and_a_no_signs_nothing(
    command: Command, world: World, ada_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    contract = make_contract(world)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    monkeypatch.setattr("typer.confirm", lambda _: False)
    at = ("--key", str(ada_key))
    code, out, _ = command("admin", "approve", study_id(contract)[:12], *at)
    assert code == 1 and "epsilon 5 at delta 0.001" in out and contract.legal_basis[:40] in out
    assert world.leaves[-1][0].kind == "study-proposed"
    code, out, _ = command("admin", "approve", study_id(contract)[:12], "--yes", "--json", *at)
    assert code == 0 and json.loads(out)["leaf"] == len(world.leaves) - 1
    leaves = len(world.leaves)
    assert command("admin", "approve", study_id(contract)[:12], "--yes", *at)[0] == 0
    assert len(world.leaves) == leaves


def test_a_study_is_proposed_from_the_sample_and_watched_to_an_abort(
    command: Command, world: World, grace_key: Path, sample: Path
) -> None:
    at = ("--key", str(grace_key))
    code, out, _ = command("study", "propose", str(sample), "--json", *at)
    study = json.loads(out)["study"]
    assert code == 0
    world.say(study_statements.StudyClosed, "hub", study=study, outcome="aborted", reason="quorum not reached")
    world.status = [status(study, state="aborted")]
    code, _, err = command("study", "watch", study[:8], *at)
    assert code == 1 and "quorum not reached" in err and "Traceback" not in err


def test_a_bad_draft_is_one_line_and_exit_code_2(command: Command, grace_key: Path, tmp_path: Path) -> None:
    draft = tmp_path / "bad.yaml"
    draft.write_text("epsilon: -1")
    code, out, err = command("study", "propose", str(draft), "--key", str(grace_key))
    assert code == 2 and out == "" and err.splitlines()[-1].startswith("error: draft refused")


def test_an_export_is_verified_offline_and_reported(
    command: Command, world: World, ada_key: Path, tmp_path: Path
) -> None:
    run_study(world, make_contract(world))
    log, page = tmp_path / "log.jsonl", tmp_path / "report.html"
    assert command("audit", "export", "--out", str(log), "--key", str(ada_key))[0] == 0
    at = (str(log), "--charter", world.founding)
    world.calls.clear()
    code, out, _ = command("audit", "verify", *at)
    assert code == 0 and "VERIFIED" in out and "NOT" not in out
    assert json.loads(command("audit", "verify", *at, "--json")[1])["leaves"] == len(world.leaves)
    assert command("audit", "report", *at, "--out", str(page))[0] == 0
    assert page.read_text().startswith("<!doctype html>") and world.calls == []


def test_an_altered_export_ends_in_red_with_the_leaf_and_exit_code_1(
    command: Command, world: World, ada_key: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(world.export()).replace("hungarian", "hungariam", 1))
    code, out, _ = command("audit", "verify", str(log), "--charter", world.founding)
    assert code == 1 and "NOT VERIFIED" in out and "leaf 4:" in out
    code, out, _ = command("audit", "verify", str(log), "--charter", world.founding, "--json")
    assert code == 1 and json.loads(out)["leaf"] == 4
    assert command("audit", "report", str(log), "--charter", world.founding, "--out", str(tmp_path / "r.html"))[0] == 1
    assert not (tmp_path / "r").exists()


def test_wrong_usage_says_what_to_give(command: Command, tmp_path: Path) -> None:
    code, _, err = command("study", "list", "--key", str(tmp_path / "none.key"))
    assert code == 2 and "consortia keys new" in err
    code, _, err = command("audit", "verify", str(tmp_path / "none"), "--charter", "abc")
    assert code == 2 and "64 hexadecimal" in err


def test_arriving_chunks_are_counted_by_show_and_of_late_silos_by_watch(
    command: Command, world: World, grace_key: Path
) -> None:
    contract = make_contract(world)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    study = study_id(contract)
    current = {
        "round": 1, "stage": "training", "attempt": 1, "state": "frozen", "ready": ["cleveland", "hungarian"],
        "uploaded": ["cleveland"], "verified": [], "due_at": None, "chunks": 255,
        "chunks_received": {"cleveland": 255, "hungarian": 120}, "bytes_up": 0, "bytes_down": 0,
        "opened_at": "2026-11-22T12:00:00Z", "closed_at": None,
    }  # fmt: skip
    world.status = [status(study, state="running", current=current)]
    _, out, _ = command("study", "show", study[:8], "--key", str(grace_key))
    assert "sealed chunks: cleveland 255/255, hungarian 120/255" in " ".join(out.split())
    now = StudyStatus.model_validate_json(json.dumps(world.status[0]))
    assert _doing(now).endswith("frozen, waiting for hungarian; sealed chunks: hungarian 120/255")


def test_an_unexpected_failure_shows_no_traceback_and_no_data(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(_: Path) -> None:
        raise KeyError("a patient's name")

    monkeypatch.setattr("client.commands.keys.read_card", fall)
    code, out, err = command("keys", "show", "card.json")
    assert code == 70 and "unexpected KeyError" in err and "patient" not in out + err


def test_the_python_interface_is_imported_as_the_documents_show() -> None:
    from client import Federation

    assert Federation.__module__ == "client.federation"
    with pytest.raises(ImportError):
        from client import Nonsense  # type: ignore[attr-defined]  # noqa: F401


def test_a_command_that_meets_no_security_key_does_not_load_their_library() -> None:
    looked = "import sys, client.__main__; print(sorted({'fido2', 'torch'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", looked], capture_output=True, text=True, check=True).stdout == "[]\n"
