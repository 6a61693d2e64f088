"""New keys for a silo that is at work: what it said, what was sealed for it, and what it may never say twice."""

import pytest

from protocol.errors import BadSignature
from protocol.membership_statements import CharterPublished
from protocol.round_statements import RoundReady, SumVerified, SurvivorsSigned
from protocol.signing import verify
from protocol.study_statements import StudyAccepted
from silo_node.errors import HubRefused
from silo_node.hub_client.key_files import KeyPair
from tests.sample_study import party
from tests.unit.silo_node.agent.story import begin_study, serve_round


def newest_charter(hub):
    return [signed.body.charter for _, signed in hub.leaves if isinstance(signed.body, CharterPublished)][-1]


def made_new_keys(node):
    """As ``consortia-silo rotate`` does; the charter doesn't name them yet."""
    new = party("alpha")
    node.silo.identity.others = (KeyPair(new.signing, new.receiving),)
    return new


def admit(group, hub, new):
    group.silos["alpha"] = new
    hub.say(CharterPublished, "person:ada", **group.published(group.charter(4, newest_charter(hub))))


def said(hub, kind):
    return [signed for _, signed in hub.leaves if isinstance(signed.body, kind) and signed.body.issuer == "silo:alpha"]


def test_the_keys_that_the_charter_names_are_used_from_there_on(node, peers, group):
    old, new = group.silos["alpha"], made_new_keys(node)
    peers.propose()
    node.go()
    (accepted,) = said(node.hub, StudyAccepted)
    verify(accepted, old.public["signing_key"])
    admit(group, node.hub, new)
    assert node.silo.identity.signing_public == old.public["signing_key"]
    node.agent.poll(0)
    assert node.silo.identity.signing_public == new.public["signing_key"]
    assert node.silo.identity.receiving_public == new.public["receiving_key"]
    assert [one.signing_public for one in node.silo.identity.others] == [old.public["signing_key"]]


def test_a_word_that_the_hub_did_not_take_any_more_is_said_again_under_the_new_key(node, peers, group):
    new = made_new_keys(node)
    peers.propose()
    node.agent.poll(0)
    node.hub.refusing = HubRefused("signature does not verify", 403)
    node.agent.work()
    assert said(node.hub, StudyAccepted) == []
    node.hub.refusing = None
    admit(group, node.hub, new)
    node.go()
    (accepted,) = said(node.hub, StudyAccepted)
    verify(accepted, new.public["signing_key"])
    kept = [one for one in node.silo.tasks.outbox() if isinstance(one.body, StudyAccepted)]
    assert len(kept) == 2, "that another one was signed is not forgotten"


def test_a_sum_that_was_served_under_the_old_keys_is_unmasked_and_verified_under_the_new_ones(node, peers, group):
    old, new = group.silos["alpha"], made_new_keys(node)
    begin_study(node, peers)
    serve_round(node, peers, 0)
    (signed,) = said(node.hub, SurvivorsSigned)
    verify(signed, old.public["signing_key"])
    admit(group, node.hub, new)
    node.go()
    peers.unmask(node)
    peers.verify()
    peers.close()
    node.go()
    assert len(said(node.hub, SurvivorsSigned)) == len(said(node.hub, RoundReady)) == 1, "said once, by whichever key"
    warned = [entry.event.what for entry in node.journal.entries() if entry.event.kind == "warning"]
    assert warned == [], "the others' shares were sealed for the old key, and open by it"
    (verified,) = said(node.hub, SumVerified)
    verify(verified, new.public["signing_key"])
    with pytest.raises(BadSignature):
        verify(verified, old.public["signing_key"])


def test_at_no_time_is_nothing_kept_where_a_word_is_said_anew(node, peers):
    peers.propose()
    node.go()
    (accepted,) = said(node.hub, StudyAccepted)
    (name,) = [
        row[0] for row in node.silo.tasks._db.execute("SELECT name FROM outbox WHERE wire = ?", (accepted.wire,))
    ]

    def fails():
        assert node.silo.tasks.kept(name) == accepted
        raise OSError("no room")

    with pytest.raises(OSError, match="no room"):
        node.silo.tasks.say_anew(name, fails)
    assert node.silo.tasks.kept(name) == accepted


def test_a_charter_with_keys_that_the_silo_does_not_hold_changes_nothing_here(node, group):
    before = node.silo.identity.pair
    group.silos["alpha"] = party("alpha")
    node.silo.identity.use(group.charter(4))
    assert node.silo.identity.pair == before
