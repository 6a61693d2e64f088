"""Two of three admins, end to end: real processes and the installed commands, from a founding file to an audit.

The tests go on from one another's consortium, in order: founding it takes half a minute.
"""

import shutil
import time
from collections.abc import Iterator

import pytest

from compose.heart import HOSPITALS
from compose.loopback import ADMIN, OFFICER, RESEARCHER
from compose.processes import Processes
from protocol.round_statements import RoundClosed, RoundOpened
from protocol.study_statements import StudyAccepted
from tests.federation.rig.hospitals import Hospitals, eventually
from tests.federation.rig.many_admins import SECOND, THIRD, ManyAdmins
from tests.federation.rig.proxy import Proxy

pytestmark = pytest.mark.slow

QUIET_S = 3.0
GONE = "switzerland"


@pytest.fixture(scope="module")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ManyAdmins]:
    folder = tmp_path_factory.mktemp("several")
    with Processes(folder / "logs") as processes:
        made = ManyAdmins.at(folder, processes)
        assert isinstance(made, ManyAdmins)
        made.found()
        yield made


@pytest.fixture(scope="module")
def hospitals(group: ManyAdmins) -> Iterator[Hospitals]:
    """The four hospitals, each admitted by two admins, and running."""
    with Proxy(group.url) as proxy:
        made = Hospitals(group, proxy)
        group.all_silos()
        made.researcher, made.admin = (made._connected(person) for person in (RESEARCHER, ADMIN))
        yield made


def proposed(hospitals: Hospitals, rounds: int) -> str:
    draft = hospitals.draft(schedule={"quorum": 3, "step_timeout_s": 60}, training={"rounds": rounds})
    return hospitals.group.propose(draft)


def approve(group: ManyAdmins, study: str, person: str) -> list[str]:
    answer = group.consortia_json(person, "admin", "approve", study, "--yes")
    approved: list[str] = answer["approved_by"]
    return approved


def assert_one_model(hospitals: Hospitals, study: str, last: int) -> None:
    """Every silo has the same state after the study's last round."""
    eventually(lambda: all(hospitals.state(name, study, last) for name in HOSPITALS), "every silo has the last state")
    assert len({hospitals.state(name, study, last) for name in HOSPITALS}) == 1


def test_a_founding_charter_is_posted_only_once_two_admins_signed_its_file(group: ManyAdmins) -> None:
    (refusal,) = group.refusals
    assert "2 of the 3 admins of version 1 must sign it" in refusal
    assert "consortia admin charter sign-file" in refusal
    charter = group.charter()
    assert charter["threshold"] == 2
    assert [p["person"] for p in charter["people"] if p["role"] == "admin"] == [ADMIN, SECOND, THIRD]
    assert [p["person"] for p in charter["people"] if p["role"] != "admin"] == [RESEARCHER, OFFICER]


def test_a_draft_is_shown_with_what_it_changes_and_waits_for_the_second_admin(group: ManyAdmins) -> None:
    drafted = group.consortia_json(ADMIN, "admin", "charter", "tolerate", "1")
    assert not drafted["in_force"]
    (waiting,) = group.consortia_json(THIRD, "admin", "charter", "pending")
    assert (waiting["signed_by"], waiting["missing"]) == ([ADMIN], 1)
    assert "may lie" in waiting["changes"][0]
    again = group.sign(drafted["charter"], ADMIN)
    assert (again["in_force"], again["missing"]) == (False, 1), "the same admin once more is no second one"
    assert group.charter()["tolerated_liars"] == 0
    assert group.sign(drafted["charter"], THIRD)["in_force"]
    assert group.charter(THIRD)["tolerated_liars"] == 1
    assert group.consortia_json(ADMIN, "admin", "charter", "pending") == []


def test_no_silo_accepts_a_study_before_a_second_admin_approves_it(hospitals: Hospitals, group: ManyAdmins) -> None:
    assert sorted(one["silo"] for one in group.charter()["members"]) == sorted(HOSPITALS)
    study = proposed(hospitals, 1)
    assert approve(group, study, ADMIN) == [f"person:{ADMIN}"]
    time.sleep(QUIET_S)
    hospitals.researcher.log.refresh()
    assert hospitals.statements(StudyAccepted, study) == []
    assert approve(group, study, SECOND) == [f"person:{ADMIN}", f"person:{SECOND}"]
    hospitals.completed(study)
    assert len(hospitals.statements(StudyAccepted, study)) == 4
    assert_one_model(hospitals, study, 2)


def test_an_objection_stops_the_next_round_and_another_admins_approval_lets_the_study_go_on(
    hospitals: Hospitals, group: ManyAdmins
) -> None:
    study = proposed(hospitals, 8)
    for person in (ADMIN, SECOND):
        approve(group, study, person)
    hospitals.await_statement(RoundClosed, study)
    group.consortia(SECOND, "admin", "object", study, "--reason", "the ethics board met again", "--yes")
    hospitals.researcher.log.refresh()
    opened = eventually(lambda: stands_still(hospitals, study), "no further round is opened")
    assert opened < 10, "it was stopped before its end"
    approve(group, study, THIRD)
    hospitals.completed(study)
    assert_one_model(hospitals, study, 9)


def stands_still(hospitals: Hospitals, study: str) -> int:
    """The number of rounds opened, once that has not grown for a while; else 0."""
    hospitals.researcher.log.refresh()
    before = len(hospitals.statements(RoundOpened, study))
    time.sleep(QUIET_S)
    hospitals.researcher.log.refresh()
    return before if len(hospitals.statements(RoundOpened, study)) == before else 0


def test_an_admin_whose_key_is_lost_gets_another_from_the_other_two(group: ManyAdmins) -> None:
    lost = group.folder / "people" / "lost"
    lost.mkdir(mode=0o700)
    for path in (group.folder / "people").glob(f"{SECOND}.*"):
        shutil.move(path, lost / path.name)
    group.processes.run(["consortia", "keys", "new", SECOND, "--out", group.key(SECOND)])
    group.decide("replace-key", group.card(SECOND), second=THIRD)
    assert group.charter(SECOND)["threshold"] == 2, "the new key opens the hub"
    old = [*group.speaker(SECOND)]
    old[old.index(group.key(SECOND))] = lost / f"{SECOND}.key"
    said = group.refused(["consortia", "admin", "charter", "show", *old])
    assert "Traceback" not in said


def test_a_silo_that_two_admins_revoked_gets_no_token_and_takes_no_part(
    hospitals: Hospitals, group: ManyAdmins
) -> None:
    drafted = group.consortia_json(THIRD, "admin", "revoke", GONE)
    assert (drafted["in_force"], len(group.charter()["members"])) == (False, 4)
    assert group.sign(drafted["charter"], SECOND)["in_force"], "by its new key"
    assert GONE not in [one["silo"] for one in group.charter()["members"]]
    eventually(lambda: "its subject is not named in the charter" in hospitals.log(GONE), "the hub refuses the silo")


def test_the_whole_log_verifies_offline_from_the_founding_digest(group: ManyAdmins) -> None:
    path = group.folder / "log.jsonl"
    group.consortia(OFFICER, "audit", "export", "--out", path)
    printed = group.processes.run(["consortia", "audit", "verify", path, "--charter", group.founding])
    assert "VERIFIED" in printed and "NOT VERIFIED" not in printed
    raw = bytearray(path.read_bytes())
    raw[raw.rindex(b"nonce") + 12] ^= 1
    path.write_bytes(raw)
    assert "NOT VERIFIED" in group.refused(["consortia", "audit", "verify", path, "--charter", group.founding])
