"""A silo works only on a log that enough witnesses saw today: a hub that withholds anything brings it to a stop."""

from datetime import timedelta

import pytest

from protocol.charter import charter_digest
from protocol.membership_statements import CharterPublished
from protocol.study_statements import StudyAccepted
from protocol.translog import Checkpoint, sign_checkpoint
from tests.unit.silo_node.agent.fake_hub import ORIGIN


@pytest.fixture
def proposed(node, peers):
    peers.propose()
    return node


def frozen_candidate(node):
    """The hub goes on showing what it shows now, with whatever cosignatures that has."""
    node.hub.candidate = node.hub.poll(0, 0).candidate


def charters(node):
    return [signed.body.charter for _, signed in node.hub.leaves if isinstance(signed.body, CharterPublished)]


def test_before_a_quorum_was_seen_nothing_is_decided(proposed):
    proposed.hub.candidate = ""
    proposed.go()
    assert proposed.hub.logged(StudyAccepted) == []
    proposed.hub.candidate = None
    proposed.go()
    assert len(proposed.hub.logged(StudyAccepted)) == 1


def test_a_day_after_the_last_quorum_everything_stands_still_and_a_new_one_lets_it_go_on(proposed):
    frozen_candidate(proposed)
    proposed.agent.poll(0)
    proposed.now += timedelta(hours=24, seconds=1)
    proposed.go()
    assert (proposed.hub.posted, proposed.runner.runs) == ([], 0)
    proposed.hub.candidate = None
    proposed.go()
    assert len(proposed.hub.logged(StudyAccepted)) == 1


def test_under_a_charter_that_no_quorum_cosigned_yet_nothing_is_done(proposed, group):
    frozen_candidate(proposed)
    proposed.agent.poll(0)
    proposed.hub.say(CharterPublished, "person:ada", **group.published(group.charter(4, charters(proposed)[-1])))
    proposed.go()
    assert proposed.hub.posted == []
    proposed.hub.candidate = None
    proposed.go()
    assert len(proposed.hub.logged(StudyAccepted)) == 1


def test_a_revocation_that_the_hub_withholds_stops_the_silo_within_a_day(proposed, peers):
    """The others have read the revocation, so they cosign nothing that names the old charter any more."""
    proposed.agent.poll(0)
    proposed.now += timedelta(hours=25)
    checkpoint = Checkpoint.stamped(
        ORIGIN, proposed.hub.tree.head(), charter_digest(charters(proposed)[-1]), proposed.now
    )
    proposed.hub.candidate = sign_checkpoint(checkpoint, ORIGIN, proposed.hub.group.log)
    proposed.go()
    assert len(proposed.hub.cosignatures) == 2  # alpha itself sees nothing wrong with it, and gives its own
    assert (proposed.hub.posted, proposed.runner.runs) == ([], 0)
