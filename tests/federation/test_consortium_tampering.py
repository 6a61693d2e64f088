"""Somebody on the line between one silo and the hub, or the hub itself, who changes what the silo is shown."""

import json
from collections.abc import Callable

import pytest

from protocol.round_statements import SumVerified
from protocol.study_statements import StudyApproved
from silo_node.journal.chain import Journal
from tests.federation.rig.hospitals import LAST, PROXIED, Hospitals, eventually
from tests.federation.rig.proxy import Answer, Request

pytestmark = pytest.mark.slow

TIMEOUT_S = 8


def stops(hospitals: Hospitals, why: str) -> None:
    """The silo ends by itself with its reason, which stands in its journal too."""
    status, said = hospitals.ends(PROXIED)
    assert status == 1
    assert why in said
    assert "Traceback" not in said
    journal = Journal(hospitals.group.silo(PROXIED) / "journal.sqlite")
    *_, last = journal.entries()
    journal.close()
    assert (last.event.kind, last.event.to) == ("halt", "nobody")
    assert why in last.event.what


def test_a_sum_with_one_byte_flipped_is_never_applied(hospitals: Hospitals) -> None:
    def flip(request: Request, answer: Answer) -> Answer:
        if not request.is_sum_of(LAST - 1):
            return answer
        middle = len(answer.body) // 2
        return answer.with_body(answer.body[:middle] + bytes([answer.body[middle] ^ 1]) + answer.body[middle + 1 :])

    hospitals.proxy.change = flip
    study = hospitals.study(step_timeout_s=TIMEOUT_S)
    stops(hospitals, f"sum of round {LAST - 1}: chunk 0 is not what the hub signed for")
    assert hospitals.state(PROXIED, study, LAST - 2) is not None
    assert hospitals.state(PROXIED, study, LAST - 1) is None
    verified = {said.round for said in hospitals.statements(SumVerified, study) if said.issuer == f"silo:{PROXIED}"}
    assert verified <= set(range(LAST - 1))
    hospitals.completed(study)
    hospitals.proxy.leave_alone()
    hospitals.start(PROXIED)
    # It said nothing about the sum it was shown: the others went on without it, and it may open that sum, no later one.
    assert hospitals.same_state_everywhere(study, but=PROXIED)
    eventually(lambda: hospitals.state(PROXIED, study, LAST - 1), "the silo opened the last sum it was part of")
    assert hospitals.state(PROXIED, study, LAST) is None


def test_answers_that_break_off_are_fetched_again_and_the_study_finishes(hospitals: Hospitals) -> None:
    seen, cut = 0, 0

    def drop(request: Request, answer: Answer) -> Answer:
        nonlocal seen, cut
        seen += 1
        if seen % 3 or len(answer.body) < 2:
            return answer
        cut += 1
        return Answer(answer.status, answer.headers, answer.body, sent=len(answer.body) // 2)

    hospitals.proxy.change = drop
    study = hospitals.study()
    hospitals.completed(study)
    assert cut > 5
    assert hospitals.is_up(PROXIED)
    assert hospitals.same_state_everywhere(study)
    assert set(hospitals.charges(PROXIED, study).values()) == {1}


def test_an_old_answer_shown_again_is_seen_as_a_log_that_was_rolled_back(hospitals: Hospitals) -> None:
    first: list[Answer] = []

    def replay(request: Request, answer: Answer) -> Answer:
        if not request.is_poll or answer.status != 200:
            return answer
        first.append(answer)
        return first[0] if len(first) == 4 else answer

    assert_refused_in_a_poll(hospitals, replay)


def test_an_approval_that_the_admin_did_not_sign_is_not_believed(hospitals: Hospitals) -> None:
    def forge(request: Request, answer: Answer) -> Answer:
        if not request.is_poll or answer.status != 200:
            return answer
        follow = json.loads(answer.body)
        for entry in follow["entries"]:
            statement = json.loads(entry["statement"]) if entry["statement"].startswith("{") else {}
            if statement.get("body", {}).get("type") == "study-approved":
                entry["statement"] = entry["statement"].replace('"nonce":"', '"nonce":"0', 1)
        return answer.with_body(json.dumps(follow).encode())

    assert_refused_in_a_poll(hospitals, forge)


def assert_refused_in_a_poll(hospitals: Hospitals, change: Callable[[Request, Answer], Answer]) -> None:
    hospitals.proxy.change = change
    study = hospitals.study(step_timeout_s=TIMEOUT_S)
    stops(hospitals, "the hub's log does not verify")
    hospitals.await_statement(StudyApproved, study)
    hospitals.proxy.leave_alone()
    hospitals.start(PROXIED)
    hospitals.completed(study)
    assert hospitals.same_state_everywhere(study)
