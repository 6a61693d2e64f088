"""A hub that publishes charters which too few admins signed: it adds a member, lowers the threshold, puts itself in.

It logs them, names them in its checkpoints, and signs those properly. Each test founds its own consortium: trust in
such a log is gone for good.
"""

from collections.abc import Callable, Iterator

import pytest

from protocol.charter import Charter, charter_digest
from protocol.signing import Signed, sign
from protocol.succession import sign_charter
from tests.federation.rig.several_admins import Several, several_admins
from tests.unit.hub.rig.party import BODY
from tests.unit.hub.rig.silo import FakeSilo

pytestmark = pytest.mark.slow


@pytest.fixture
def several(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Several]:
    with several_admins(tmp_path_factory.mktemp("charters")) as made:
        yield made


def with_a_member(several: Several) -> Charter:
    """The next charter with a silo whose keys the hub made."""
    people = several.group.people
    silo = FakeSilo("eve", people.url, people.card)
    keys = {"signing_key": silo.public, "receiving_key": silo.receiving}
    members = several.charter.model_dump(mode="json")["members"]
    return several.next_charter(members=[*members, {"silo": "eve", **keys}])


def a_member_that_one_of_two_admins_signed_for(several: Several) -> Signed:
    newer = with_a_member(several)
    return several.publication(newer, several.signatures(newer, "ines"), several.admins["ines"])


def a_member_that_one_admin_signed_for_twice(several: Several) -> Signed:
    newer = with_a_member(several)
    return several.publication(newer, several.signatures(newer, "ines", "ines"), several.admins["ines"])


def a_member_with_the_admins_signatures_of_the_charter_before(several: Several) -> Signed:
    old = several.signatures(several.charter, "ines", "bea")
    return several.publication(with_a_member(several), old, several.admins["ines"])


def a_member_with_signatures_that_the_hub_made(several: Several) -> Signed:
    newer, key = with_a_member(several), several.hub.voice.key
    return several.publication(
        newer, [sign_charter(newer, name, key) for name in ("ines", "bea")], several.admins["ines"]
    )


def a_member_that_a_researcher_signed_for(several: Several) -> Signed:
    newer, lead = with_a_member(several), several.group.people.lead
    signatures = [*several.signatures(newer, "ines"), sign_charter(newer, lead.name, lead.key)]
    return several.publication(newer, signatures, several.admins["ines"])


def a_lower_threshold_that_meets_itself(several: Several) -> Signed:
    newer = several.next_charter(threshold=1)
    return several.publication(newer, several.signatures(newer, "cid"), several.admins["cid"])


def an_admin_of_the_hubs_own_making(several: Several) -> Signed:
    """The new admin and one old one: two of the new four, and one of the old three."""
    people, key = several.charter.model_dump(mode="json")["people"], FakeSilo("x", several.hub.url, several.hub.card)
    eve = {
        **several.person("ines", "admin"),
        "person": "eve",
        "signing_key": key.public,
        "receiving_key": key.receiving,
    }
    newer = several.next_charter(people=[*people, eve])
    signatures = [*several.signatures(newer, "ines"), sign_charter(newer, "eve", key.key)]
    return several.publication(newer, signatures, several.admins["ines"])


def a_charter_that_skips_a_version(several: Several) -> Signed:
    newer = several.next_charter(version=several.charter.version + 2)
    return several.publication(newer, several.signatures(newer, "ines", "bea"), several.admins["ines"])


def a_good_draft_in_the_hubs_own_name(several: Several) -> Signed:
    newer = several.next_charter(threshold=1)
    said = several.publication(newer, several.signatures(newer, "ines", "bea"), several.admins["ines"])
    body = BODY.validate_python(said.body.model_dump() | {"issuer": "hub"})
    return sign(body, several.hub.voice.key)


LIES: dict[Callable[[Several], Signed], str] = {
    a_member_that_one_of_two_admins_signed_for: "signed by ines; 2 of the 3 admins",
    a_member_that_one_admin_signed_for_twice: "signed by ines; 2 of the 3 admins",
    a_member_with_the_admins_signatures_of_the_charter_before: "that no admin's key verifies",
    a_member_with_signatures_that_the_hub_made: "that no admin's key verifies",
    a_member_that_a_researcher_signed_for: "that no admin's key verifies",
    a_lower_threshold_that_meets_itself: "signed by cid; 2 of the 3 admins",
    an_admin_of_the_hubs_own_making: "signed by ines; 2 of the 3 admins",
    a_charter_that_skips_a_version: "rule 2",
    a_good_draft_in_the_hubs_own_name: "charter must come from the role admin",
}


@pytest.mark.parametrize("lie", LIES, ids=lambda lie: lie.__name__.replace("_", " "))
def test_a_charter_that_the_rules_forbid_ends_all_trust_and_brings_nothing_into_force(
    several: Several, lie: Callable[[Several], Signed]
) -> None:
    before = charter_digest(several.charter)
    several.force(lie(several))
    several.assert_distrusted(LIES[lie])
    assert all(charter_digest(held) == before for held in several.charters_held())


def test_a_checkpoint_that_names_such_a_charter_is_not_believed_either(several: Several) -> None:
    before = charter_digest(several.charter)
    several.force(a_member_that_one_of_two_admins_signed_for(several), in_force=True)
    several.assert_distrusted("which does not follow from what was shown")
    assert all(charter_digest(held) == before for held in several.charters_held())


def test_two_of_three_admins_do_change_the_charter(several: Several) -> None:
    """What the lies lack: the same change with a second signature is followed."""
    newer = several.amend("ines", "cid", threshold=1)
    several.group.rest()
    assert several.charters_held() == [newer] * 4
    assert all(node.ended is None for node in several.group.nodes.values())
