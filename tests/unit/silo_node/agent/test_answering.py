"""What an owner may answer as a study stands, and what an answer leaves in the journal."""

import pytest

from protocol.study_statements import StudyApproved
from silo_node.agent.answering import choices, give_answer, is_due, let_resume, verdict
from silo_node.errors import ConfigRefused
from tests.unit.silo_node.agent.conftest import LIMITS
from tests.unit.silo_node.agent.peers import Peers
from tests.unit.silo_node.agent.story import begin_study, run_study

ASK = LIMITS.replace('"within-limits"', '"ask"')


@pytest.fixture
def node(make_node):
    return make_node(limits=ASK)


@pytest.fixture
def peers(node, small):
    return Peers(node.hub, small)


def offered(node, peers):
    """Whether an answer is due, and the answers that are offered."""
    record = peers.record
    due = is_due("alpha", record, node.silo.tasks.decided())
    return due, choices(node.silo, record, verdict(node.silo, record))


def test_the_very_same_answer_is_noted_once_and_another_reason_is_another_answer(node, peers):
    peers.propose()
    node.go()
    given = [give_answer(node.silo, peers.record, "refuse", reason) for reason in ("no", "no", "not yet")]
    assert given == [True, False, True]
    assert [note.what for note in node.notes] == ["owner: refuse", "owner: refuse"]
    assert node.silo.tasks.answered(peers.study, "refuse") == "not yet"


def test_a_yes_is_offered_once_the_admins_approve_and_until_it_was_given(node, peers):
    peers.propose(approved=False)
    node.go()
    assert offered(node, peers) == (False, ("refuse",))
    peers.say(StudyApproved, "person:ada", assertion=None)
    node.go()
    assert offered(node, peers) == (True, ("accept", "refuse"))
    give_answer(node.silo, peers.record, "accept", "")
    assert offered(node, peers) == (False, ("refuse",)), "until the node has signed, it may be taken back"
    node.go()
    assert offered(node, peers) == (False, ("withdraw",))
    give_answer(node.silo, peers.record, "refuse", "second thoughts")
    assert offered(node, peers) == (False, ())
    node.go()
    assert offered(node, peers) == (False, ())


def test_a_release_is_offered_when_it_is_asked_for_and_may_be_held_back_until_it_left(node, peers):
    node.silo.tasks.answer(peers.study, "accept", "")
    run_study(node, peers)
    assert offered(node, peers) == (False, ())
    peers.request()
    node.go()
    assert offered(node, peers) == (True, ("release", "withhold"))
    give_answer(node.silo, peers.record, "refuse", "later")
    assert offered(node, peers) == (False, ("release",))
    give_answer(node.silo, peers.record, "release", "")
    node.go()
    assert offered(node, peers) == (False, ())


def test_a_halted_study_is_offered_nothing(node, peers):
    peers.propose()
    node.go()
    node.silo.tasks.halt(peers.study, "a forged sum")
    assert offered(node, peers) == (False, ())


def test_what_is_not_paused_can_not_be_resumed(node, peers):
    node.silo.tasks.answer(peers.study, "accept", "")
    begin_study(node, peers)
    with pytest.raises(ConfigRefused, match="this silo has not paused it"):
        let_resume(node.silo, peers.record)
    assert "owner: resume" not in [note.what for note in node.notes]
