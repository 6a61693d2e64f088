"""Charters that several admins sign: collected in the log, in a file, by people who see what they sign."""

from pathlib import Path

import pytest

from client import charter_changes as changes_of
from client import charter_drafts as drafts
from client.errors import HubUntrusted, UsageRefused
from client.keys import Identity, new_identity, write_identity
from pages.charter import changes
from protocol import membership_statements
from protocol.charter import Charter, charter_bytes, charter_digest
from protocol.decision import DecisionKey
from protocol.succession import DECISION, CharterSignature, sign_charter
from tests.security_key import SecurityKey
from tests.unit.client.conftest import START, World


def no_touch(signature: CharterSignature, charter: Charter, key: DecisionKey) -> CharterSignature:
    raise AssertionError("nobody here has a security key")


@pytest.fixture
def bea() -> Identity:
    return new_identity("bea")


@pytest.fixture
def two(world: World, bea: Identity, tmp_path: Path) -> Path:
    """The world with two admins, ada and bea, who decide together; gives bea's key file."""
    world.identities["bea"] = bea
    key = tmp_path / "bea.key"
    write_identity(bea, key)
    second = changes_of.with_person(world.charters[-1], bea.card, "admin", START)
    world.publish(second)
    third = changes_of.with_threshold(second, 2, START)
    signatures = tuple(sign_charter(third, one.person, one.signing) for one in (world.ada, bea))
    world.say(membership_statements.CharterPublished, "person:ada", charter=third, signatures=signatures)
    return key


def test_a_change_waits_for_the_second_admin_and_is_in_force_with_its_signature(
    world: World, ada_key: Path, two: Path
) -> None:
    ada, bea = world.connect(ada_key), world.connect(two)
    before = ada.log.charter
    outcome = drafts.propose(ada, changes_of.without_silo(before, "cleveland", ada.now()), no_touch)
    assert not outcome.in_force and outcome.missing == drafts.Missing(1, 1)
    bea.log.refresh()
    (waiting,) = drafts.pending(bea)
    assert changes(bea.log.charter, waiting.draft.charter)[0] == "removes silo cleveland"
    found = drafts.find(bea, waiting.draft.digest[:8])
    signature = drafts.sign(found, bea.log.charter, bea.identity, no_touch)
    assert drafts.add_signatures(bea, found, [signature]).in_force
    assert "cleveland" not in bea.log.charter.silos and bea.log.charter.version == before.version + 1
    assert drafts.pending(bea) == ()


def test_the_same_admin_twice_is_one_signature(world: World, ada_key: Path, two: Path) -> None:
    ada = world.connect(ada_key)
    draft = drafts.propose(ada, changes_of.renewed(ada.log.charter, ada.now()), no_touch).draft
    again = drafts.sign(draft, ada.log.charter, ada.identity, no_touch)
    assert not drafts.add_signatures(ada, draft, [again]).in_force
    assert len(drafts.pending(ada)[0].draft.signatures) == 1


def test_a_signature_that_the_hub_made_up_is_passed_over(world: World, ada_key: Path, two: Path) -> None:
    ada = world.connect(ada_key)
    draft = drafts.propose(ada, changes_of.renewed(ada.log.charter, ada.now()), no_touch).draft
    forged = sign_charter(draft.charter, "bea", world.hub_key)
    world.say(membership_statements.CharterSigned, "person:ada", charter=draft.digest, signature=forged)
    ada.log.refresh()
    (waiting,) = drafts.pending(ada)
    assert [one.signer for one in waiting.draft.signatures] == ["ada"] and not waiting.in_force


def test_a_draft_with_a_silo_that_never_enrolled_is_not_signed(world: World, ada_key: Path) -> None:
    ada = world.connect(ada_key)
    strange = changes_of.with_silo(
        ada.log.charter, "mallory", "ab" * 32, ada.log.charter.members[0].receiving_key, ada.now()
    )
    with pytest.raises(HubUntrusted, match="mallory, who never enrolled"):
        drafts.propose(ada, strange, no_touch)


def test_a_draft_of_a_version_that_was_overtaken_is_gone(world: World, ada_key: Path, two: Path) -> None:
    ada = world.connect(ada_key)
    draft = drafts.propose(ada, changes_of.renewed(ada.log.charter, ada.now()), no_touch).draft
    third = changes_of.without_silo(ada.log.charter, "cleveland", ada.now())
    signatures = tuple(sign_charter(third, one.person, one.signing) for one in (world.ada, world.identities["bea"]))
    world.say(membership_statements.CharterPublished, "person:ada", charter=third, signatures=signatures)
    ada.log.refresh()
    assert drafts.pending(ada) == ()
    with pytest.raises(UsageRefused, match="0 drafts begin so"):
        drafts.find(ada, draft.digest)


def test_a_founding_charter_of_two_goes_from_hand_to_hand_and_is_posted_when_both_signed(
    world: World, bea: Identity, tmp_path: Path
) -> None:
    founding = changes_of.founding_charter(world.card, [world.ada.card, bea.card], 2, START)
    draft = drafts.unsigned(founding)
    draft = draft.with_signatures([drafts.sign(draft, None, world.ada, no_touch)])
    path = tmp_path / "founding.json"
    drafts.write_draft(draft, path)
    read = drafts.read_draft(path)
    assert drafts.missing(read, None) == drafts.Missing(0, 1)
    whole = read.with_signatures([drafts.sign(read, None, bea, no_touch)])
    assert drafts.missing(whole, None).none and whole.digest == charter_digest(founding)
    with pytest.raises(UsageRefused, match="admin neither"):
        drafts.sign(read, None, world.grace, no_touch)


def test_a_file_that_is_no_draft_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\xff{}")
    with pytest.raises(UsageRefused, match="not a charter draft"):
        drafts.read_draft(tmp_path / "x")
    with pytest.raises(UsageRefused, match="can't be read"):
        drafts.read_draft(tmp_path / "absent")


def test_an_admin_with_a_security_key_is_asked_to_touch_it(world: World, ada_key: Path) -> None:
    key = SecurityKey.es256()
    value = world.charters[-1].model_dump()
    value["people"][0]["decision_key"] = key.public.model_dump()
    value |= {"version": value["version"] + 1, "previous": charter_digest(world.charters[-1])}
    newer = Charter.model_validate(value)
    asked: list[Charter] = []

    def touch(signature: CharterSignature, shown: Charter, named: DecisionKey) -> CharterSignature:
        asked.append(shown)
        assert named == key.public
        return signature.model_copy(update={"assertion": key.touch(DECISION, charter_bytes(shown))})

    ada = world.connect(ada_key)
    assert drafts.propose(ada, newer, touch).in_force
    assert asked == [newer] and ada.log.charter == newer


def test_every_difference_is_said(world: World) -> None:
    older = world.charters[-1]
    other, box = new_identity("ada"), older.members[0].receiving_key
    cases: list[tuple[Charter, str]] = [
        (changes_of.without_silo(older, "cleveland", START), "removes silo cleveland"),
        (changes_of.with_silo(older, "new-one", "ab" * 32, box, START), "adds silo new-one"),
        (changes_of.with_silo(older, "cleveland", "ab" * 32, box, START), "gives silo cleveland new keys"),
        (changes_of.with_person(older, new_identity("otto").card, "officer", START), "adds officer otto"),
        (changes_of.with_new_key(older, other.card, START), "gives ada new keys"),
        (changes_of.without_person(older, "grace", START), "removes researcher grace"),
        (changes_of.with_role(older, "grace", "admin", 2, START), "makes grace an admin, was a researcher"),
        (changes_of.with_liars(older, 1, START), "1 of the witnesses may lie"),
        (changes_of.with_liars(older, 9, START), "more than there are, so that no silo works"),
        (changes_of.renewed(older, START.replace(year=2030)), "expires"),
    ]  # fmt: skip
    for newer, said in cases:
        assert any(said in line for line in changes(older, newer)), said
        assert newer.previous == charter_digest(older)
    assert changes(older, older) == ()
