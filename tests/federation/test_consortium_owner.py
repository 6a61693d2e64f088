"""What owners decide and do at their terminals while their nodes run."""

import json
import threading

import pytest

from compose.heart import HOSPITALS, schema_path
from protocol.round_statements import RoundOpened
from protocol.study_statements import StudyRefused, StudyWithdrawn
from silo_node.journal.chain import Journal
from tests.federation.rig.hospitals import Hospitals, eventually

pytestmark = pytest.mark.slow

ASKED = ("cleveland", "hungarian")
REASON = "The ethics committee said no."


@pytest.fixture
def asking(hospitals: Hospitals):
    """Two hospitals whose owners want to be asked; both wait at the hub for a second at most."""
    for name in ASKED:
        hospitals.stop(name)
        hospitals.set_in(name, "limits.toml", "accept", '"ask"')
        hospitals.set_in(name, "silo.toml", "poll_wait_s", "1")
        hospitals.start(name)
    yield ASKED
    for name in ASKED:
        hospitals.stop(name)
        hospitals.set_in(name, "limits.toml", "accept", '"within-limits"')
        hospitals.set_in(name, "silo.toml", "poll_wait_s", "20")


def answer(hospitals: Hospitals, silo: str, study: str, *words: str) -> None:
    def known() -> bool:
        printed = hospitals.group.processes.run(["consortia-silo", "study", "list", "--folder", folder])
        return study[:12] in printed

    folder = hospitals.group.silo(silo)
    eventually(known, f"{silo} has read of the study")
    hospitals.group.processes.run(["consortia-silo", "study", words[0], study, *words[1:], "--folder", folder])


def shown(hospitals: Hospitals, study: str) -> dict:
    return hospitals.group.consortia_json("grace", "study", "show", study)["status"]


def test_owners_who_are_asked_decide_refuse_and_leave_and_everyone_reads_why(
    hospitals: Hospitals, asking: tuple[str, str]
) -> None:
    first, second = asking
    study = hospitals.study(step_timeout_s=20)
    answer(hospitals, first, study, "refuse", "--reason", REASON)
    refused = hospitals.await_statement(StudyRefused, study)
    assert (refused.issuer, refused.reason, refused.decided_by) == (f"silo:{first}", REASON, "owner")
    answer(hospitals, second, study, "accept")
    hospitals.completed(study)
    assert {one.silos for one in hospitals.statements(RoundOpened, study)} == {
        tuple(name for name in sorted(HOSPITALS) if name != first)
    }
    assert hospitals.charges(first, study) == {}
    assert REASON in shown(hospitals, study)["refused"][first]

    study = hospitals.study()
    for name in asking:
        answer(hospitals, name, study, "refuse", "--reason", REASON)
    closed = hospitals.finish(study)
    assert (closed.outcome, "2 of 4 silos refused" in closed.reason) == ("aborted", True)
    status = shown(hospitals, study)
    assert status["state"] == "aborted"
    assert {silo: REASON in why for silo, why in status["refused"].items()} == dict.fromkeys(asking, True)


def test_a_refusal_after_acceptance_takes_the_silo_out_of_the_next_round(
    hospitals: Hospitals, asking: tuple[str, str]
) -> None:
    first, second = asking
    held = hospitals.proxy.hold(lambda request: request.says("round-ready", 1))
    study = hospitals.study()
    for name in asking:
        answer(hospitals, name, study, "accept")
    held.wait()
    answer(hospitals, first, study, "refuse", "--reason", REASON)
    withdrawn = hospitals.await_statement(StudyWithdrawn, study)
    assert (withdrawn.issuer, withdrawn.reason) == (f"silo:{first}", REASON)
    held.released.set()
    hospitals.completed(study)
    later = [one.silos for one in hospitals.statements(RoundOpened, study) if one.round > 1]
    assert later and all(first not in silos and second in silos for silos in later)
    assert {index for _, index in hospitals.charges(first, study)} == {0, 1}
    assert hospitals.log_verifies()


def test_a_second_node_on_one_folder_is_refused(hospitals: Hospitals) -> None:
    for name in ("cleveland", "hungarian"):
        said = hospitals.refused(["consortia-silo", "run", "--folder", hospitals.group.silo(name)])
        assert "a silo node is running on this folder already" in said
        assert hospitals.is_up(name)


def test_other_terminals_may_be_used_while_the_node_works(hospitals: Hospitals, tmp_path) -> None:
    name = "cleveland"
    folder: list = ["--folder", hospitals.group.silo(name)]
    data = hospitals.group.folder / "hospitals"
    add: list = ["dataset", "add", "heart-again", "--source", data / f"{name}.csv", "--schema", schema_path(data)]
    terms: list = ["--rows", "303", "--epsilon", "8", "--delta", "0.001"]
    commands = [[*add, *terms], ["ledger", "--json"], ["journal", "show"], ["study", "list"], ["dataset", "list"]]
    study, printed = hospitals.study(), {}

    def use(command: list) -> None:
        printed[str(command[:2])] = hospitals.group.processes.run(["consortia-silo", *command, *folder])

    terminals = [threading.Thread(target=use, args=(command,)) for command in commands]
    for terminal in terminals:
        terminal.start()
    hospitals.completed(study)
    for terminal in terminals:
        terminal.join()
    assert len(printed) == len(commands), printed.keys()
    assert "Registered heart-again" in printed[str(add[:2])]
    assert json.loads(printed[str(["ledger", "--json"])])[0]["epsilon_spent"] > 0
    assert hospitals.same_state_everywhere(study)
    assert hospitals.is_up(name)
    journal = Journal(hospitals.group.silo(name) / "journal.sqlite")
    kinds = [entry.event.what for entry in journal.entries()]
    journal.close()
    assert kinds.count("dataset-registered") == 2
