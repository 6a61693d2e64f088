"""``consortia-silo subject`` as its user types it: who withdraws is heard, counted and never shown by name."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from silo_node.dataset.catalogue import Catalogue
from silo_node.runner.process import Runner
from tests.console.owner_rig import make_owner
from tests.sample_study import Consortium, contract, contract_values
from tests.unit.silo_node.agent.conftest import LIMITS
from tests.unit.silo_node.agent.peers import Peers
from tests.unit.silo_node.agent.story import begin_study, run_round
from tests.unit.silo_node.commands.conftest import Told, decisions

COMMAND = Path(sys.executable).with_name("consortia-silo")


def subject(silo: Path, *words: object) -> Told:
    return Told("subject", *words, "--folder", silo)


def counted(silo: Path) -> dict[str, int]:
    found: dict[str, int] = json.loads(subject(silo, "count", "--json").text)
    return found


def test_who_withdraws_is_on_the_list_at_once_and_saying_it_again_changes_nothing(joined: Path) -> None:
    said = subject(joined, "withdraw", "p-1")
    assert said.status == 0 and said.fits
    assert said.line.startswith("Withdrawn. From now on no read of patients has their rows.")
    assert "No study of this silo has used rows under this id" in said.line
    assert subject(joined, "withdraw", "p-1").line.startswith("On the list already.")
    assert counted(joined) == {"patients": 1}
    assert len([what for what in decisions(joined) if "1 people" in what]) == 2  # as intended, as written


@pytest.mark.parametrize(
    ("found", "told"), [("trained", True), ("held out", True), ("unreadable", True), ("absent", False)]
)
def test_who_withdraws_late_is_told_which_studies_had_their_rows(
    tmp_path: Path, group: Consortium, monkeypatch: pytest.MonkeyPatch, found: str, told: bool
) -> None:
    node = make_owner(tmp_path / "alpha", group, limits=LIMITS)
    peers = Peers(
        node.hub, contract(title="Who is [bold]ill[/bold]?", training={**contract_values()["training"], "rounds": 1})
    )
    begin_study(node, peers)
    run_round(node, peers, 0)
    node.close()
    monkeypatch.setattr(Runner, "trace", lambda _, task: (found,) * len(task.test_shares))
    said = subject(tmp_path / "alpha", "withdraw", "p-1")
    assert said.status == 0 and said.fits
    assert (peers.study[:12] in said.text) == told
    if told:
        assert found in said.line and "under way" in said.line and "[bold]ill[/bold]" in said.line
        assert "What was computed can't be taken back; no later round has their rows." in said.line
    else:
        assert "No study of this silo has used rows under this id" in said.line


def test_the_list_shows_when_and_a_hash_and_no_id(joined: Path) -> None:
    subject(joined, "withdraw", "p-1")
    said = subject(joined, "list")
    assert said.status == 0 and said.fits
    assert "p-1" not in said.text
    (hashed,) = Catalogue(joined / "datasets").opt_outs.load("patients", expected=True).entries
    assert hashed[:16] in said.text


def test_a_file_of_people_is_taken_whole(joined: Path, tmp_path: Path) -> None:
    file = tmp_path / "refusals.csv"
    file.write_text("id,when\np-2,today\np-3,today\np-2,again\n")
    subject(joined, "withdraw", "p-3")
    said = subject(joined, "import", file)
    assert said.line == "1 people withdrawn from patients; 1 were on the list already."
    assert subject(joined, "count").fits
    assert counted(joined) == {"patients": 2}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("id\np-1\n\n", "line 3 has no id in its first column; nobody was withdrawn"),
        ("id\np-1\n ,p-2\n", "line 3 has no id"),
        ("id\n", "names nobody below its header line"),
        ('id\n"p-1\n', "is not a CSV file"),
        ("id\n\xe9\n", "is not a CSV file in UTF-8"),
        ("id\np-1\np\x00-2\n", "is not a CSV file|an id must have"),
    ],
)
def test_a_file_with_one_wrong_line_withdraws_nobody_and_shows_no_id(
    joined: Path, tmp_path: Path, text: str, why: str
) -> None:
    file = tmp_path / "refusals.csv"
    file.write_bytes(text.encode("latin-1"))
    said = subject(joined, "import", file)
    assert said.status == 1
    assert any(one in said.refusal for one in why.split("|"))
    assert "p-" not in said.refusal
    assert counted(joined) == {"patients": 0}
    assert decisions(joined) == []


def test_a_domain_that_has_no_dataset_is_refused_naming_those_that_there_are(joined: Path) -> None:
    for words in (("withdraw", "p-1"), ("list",), ("accept",)):
        said = subject(joined, *words, "--domain", "staff")
        assert (said.status, said.refusal) == (
            1,
            "privacy domain: 'staff' has no dataset; name one of: patients",
        )
    assert counted(joined) == {"patients": 0}


def test_an_old_list_is_named_by_each_command_until_it_is_whole_or_taken_as_it_is(joined: Path) -> None:
    subject(joined, "withdraw", "p-1")
    path = Catalogue(joined / "datasets").opt_outs.file_of("patients")
    older = path.read_bytes()
    subject(joined, "withdraw", "p-2")
    path.write_bytes(older)
    said = subject(joined, "withdraw", "p-3")
    assert said.status == 0 and said.fits
    assert "Nothing is read yet: the opt-outs of domain patients are not those that the journal counts" in said.line
    taken = subject(joined, "accept")
    assert taken.line == "Taken: the list of patients with 2 people. Who is missing on it is read again."
    assert subject(joined, "accept").line.endswith("nothing was to be taken.")
    assert "Nothing is read yet" not in subject(joined, "withdraw", "p-4").line


def test_a_refusal_ends_the_real_command_with_1_on_standard_error_and_without_a_trace(joined: Path) -> None:
    Catalogue(joined / "datasets").opt_outs.file_of("patients").unlink()
    done = subprocess.run(
        [COMMAND, "subject", "count", "--folder", joined], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("OptOutsRefused: the opt-outs of domain patients are gone")
    assert "Traceback" not in done.stderr
