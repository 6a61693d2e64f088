"""Charters signed by thresholds: what a hub, a lone admin or a thief of old keys may not do with them."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.chain import CharterChain
from protocol.charter import Charter, Person, charter_bytes, charter_digest
from protocol.decision import DecisionKey
from protocol.errors import BadSignature, CharterRefused
from protocol.membership_statements import CharterPublished
from protocol.signing import sign
from protocol.succession import (
    DECISION,
    check_change,
    check_founding,
    check_signature,
    check_succession,
    sign_charter,
    signers,
)
from tests.sample_study import NOW, consortium, party
from tests.security_key import SecurityKey

GROUP = consortium()
PEOPLE = {name: party(name) for name in ("ada", "bea", "cid", "dan")}


def charter(*admins, threshold=1, previous=None, people=None, **changes):
    """A charter in which ``admins`` decide, after ``previous``."""
    keys = people or PEOPLE
    named = tuple(Person(person=name, role="admin", decision_key=None, **keys[name].public) for name in admins)
    value = GROUP.charter(2, previous).model_dump() | {"people": named, "threshold": threshold}
    return Charter.model_validate(value | changes)


def signed(charter_, *names, people=None):
    keys = people or PEOPLE
    return tuple(sign_charter(charter_, name, keys[name].signing) for name in names)


@given(st.sets(st.sampled_from(["ada", "bea", "cid"])), st.sets(st.sampled_from(["bea", "cid", "dan"])))
def test_a_version_needs_the_thresholds_of_both_versions_whoever_signs(before, after):
    first = charter("ada", "bea", "cid", threshold=2)
    second = charter("bea", "cid", "dan", threshold=2, previous=first)
    names = before | after
    enough = len(names & {"ada", "bea", "cid"}) >= 2 and len(names & {"bea", "cid", "dan"}) >= 2
    signatures = signed(second, *sorted(names))
    if enough:
        check_succession(first, second, signatures)
        return
    with pytest.raises(CharterRefused, match="rule 3"):
        check_succession(first, second, signatures)


def test_one_admin_counts_once_however_often_it_signs():
    first = charter("ada", "bea", threshold=2)
    second = charter("ada", "bea", threshold=2, previous=first)
    with pytest.raises(CharterRefused, match="signed by ada"):
        check_succession(first, second, signed(second, "ada", "ada"))


def test_a_lone_admin_cannot_lower_the_threshold():
    first = charter("ada", "bea", "cid", threshold=2)
    second = charter("ada", "bea", "cid", threshold=1, previous=first)
    with pytest.raises(CharterRefused, match="2 of the 3 admins"):
        check_succession(first, second, signed(second, "ada"))


def test_a_threshold_that_grows_is_met_by_the_new_version_already():
    first = charter("ada", threshold=1)
    second = charter("ada", "bea", threshold=2, previous=first)
    with pytest.raises(CharterRefused, match="2 of the 2 admins of version 2"):
        check_succession(first, second, signed(second, "ada"))
    check_succession(first, second, signed(second, "ada", "bea"))


def test_an_admin_whose_key_is_lost_is_given_another_by_the_others():
    first = charter("ada", "bea", "cid", threshold=2)
    renewed = PEOPLE | {"ada": party("ada")}
    second = charter("ada", "bea", "cid", threshold=2, previous=first, people=renewed)
    check_succession(first, second, signed(second, "bea", "cid"))
    with pytest.raises(CharterRefused, match="rule 3"):
        check_succession(first, second, (*signed(second, "bea"), *signed(second, "ada", people=renewed)))


def test_a_stolen_old_key_signs_no_later_version():
    first = charter("ada", "bea", "cid", threshold=2)
    renewed = PEOPLE | {"ada": party("ada")}
    second = charter("ada", "bea", "cid", threshold=2, previous=first, people=renewed)
    third = charter("ada", "bea", "cid", threshold=2, previous=second, people=renewed)
    with pytest.raises(CharterRefused, match="no admin's key verifies"):
        check_succession(second, third, (*signed(third, "bea"), *signed(third, "ada")))


def test_a_signature_of_another_version_or_a_stranger_serves_for_nothing():
    first = charter("ada", "bea", threshold=2)
    second = charter("ada", "bea", threshold=2, previous=first)
    other = charter("ada", "bea", threshold=2, previous=first, expires_at="2031-01-01T00:00:00Z")
    with pytest.raises(CharterRefused, match="no admin's key verifies"):
        check_succession(first, second, (*signed(second, "ada"), *signed(other, "bea")))
    with pytest.raises(CharterRefused, match="no admin's key verifies"):
        check_succession(
            first, second, (*signed(second, "ada", "bea"), sign_charter(second, "dan", party("x").signing))
        )


def test_a_researcher_does_not_sign_charters():
    first = GROUP.charter(1)
    second = GROUP.charter(2, first)
    forged = sign_charter(second, GROUP.researcher.name, GROUP.researcher.signing)
    with pytest.raises(CharterRefused, match="no admin's key verifies"):
        check_succession(first, second, (forged,))


def test_the_founding_charter_needs_its_own_threshold():
    first = charter("ada", "bea", threshold=2)
    with pytest.raises(CharterRefused, match="rule 1"):
        check_founding(first, signed(first, "ada"), charter_digest(first))
    check_founding(first, signed(first, "ada", "bea"), charter_digest(first))
    with pytest.raises(CharterRefused, match="not the one that was pinned"):
        check_founding(first, signed(first, "ada", "bea"), "0" * 64)


def test_a_later_version_does_not_serve_as_the_founding_one():
    second = charter("ada", previous=charter("ada"))
    with pytest.raises(CharterRefused, match="version 1"):
        check_founding(second, signed(second, "ada"), charter_digest(second))


def test_a_version_that_is_skipped_repeated_or_rewritten_is_refused():
    first = charter("ada")
    second = charter("ada", previous=first)
    third = charter("ada", previous=second)
    other = charter("ada", previous=charter("ada", expires_at="2031-01-01T00:00:00Z"))
    for older, newer in ((first, third), (second, second), (first, other), (second, first)):
        with pytest.raises(CharterRefused, match="rule 2"):
            check_succession(older, newer, signed(newer, "ada"))


@pytest.mark.parametrize(("field", "value"), [("log_origin", "other.example/log"), ("consortium", "Other")])
def test_name_and_log_stay_what_they_were(field, value):
    first = charter("ada")
    with pytest.raises(CharterRefused, match=f"rule 4: {field}"):
        check_change(first, charter("ada", previous=first, **{field: value}))


def test_hub_and_log_keys_members_and_witnesses_may_change():
    first = charter("ada")
    changed = {"hub_key": "ab" * 32, "log_key": "cd" * 32, "members": (), "tolerated_liars": 1}
    second = charter("ada", previous=first, **changed, witnesses=({"name": "w.example", "key": "ef" * 32},))
    check_succession(first, second, signed(second, "ada"))


def with_security_key(name, key):
    return Person(person=name, role="admin", decision_key=key.public, **PEOPLE[name].public)


def test_where_the_charter_names_a_security_key_a_signature_without_its_touch_counts_for_nothing():
    key = SecurityKey.es256()
    first = charter("ada")
    first = first.model_copy(update={"people": (with_security_key("ada", key),)})
    second = charter("ada", previous=first).model_copy(update={"people": first.people})
    bare = sign_charter(second, "ada", PEOPLE["ada"].signing)
    with pytest.raises(CharterRefused, match="rule 3"):
        check_succession(first, second, (bare,))
    touched = sign_charter(second, "ada", PEOPLE["ada"].signing, key.touch(DECISION, charter_bytes(second)))
    check_succession(first, second, (touched,))
    for wrong in (key.touch(DECISION, charter_bytes(first)), key.touch("study-approved", charter_bytes(second))):
        with pytest.raises(CharterRefused, match="rule 3"):
            check_succession(first, second, (sign_charter(second, "ada", PEOPLE["ada"].signing, wrong),))


def test_no_version_takes_the_security_key_away_without_its_own_touch():
    key = SecurityKey.es256()
    first = charter("ada").model_copy(update={"people": (with_security_key("ada", key),)})
    second = charter("ada", previous=first)
    with pytest.raises(CharterRefused, match="version 1"):
        check_succession(first, second, signed(second, "ada"))


NONCES = itertools.count()


def publish(charter_, signatures, issuer="person:ada", key=None):
    body = CharterPublished(
        type="charter",
        issuer=issuer,
        issued_at=NOW,
        nonce=f"{next(NONCES):032x}",
        journal_head=None,
        charter=charter_,
        signatures=signatures,
    )
    return sign(body, key or PEOPLE["ada"].signing)


def test_a_chain_is_followed_from_the_pinned_digest_through_every_change():
    first = charter("ada", threshold=1)
    second = charter("ada", "bea", threshold=2, previous=first)
    third = charter("bea", threshold=1, previous=second)
    chain = CharterChain(charter_digest(first))
    chain.check(publish(first, signed(first, "ada")))
    chain.check(publish(second, signed(second, "ada", "bea")))
    chain.check(publish(third, signed(third, "ada", "bea"), "person:bea", PEOPLE["bea"].signing))
    assert chain.in_force == third
    with pytest.raises(BadSignature, match="not named"):
        fourth = charter("ada", previous=third)
        chain.check(publish(fourth, (*signed(fourth, "bea"), *signed(fourth, "ada"))))


def test_a_version_that_the_hub_publishes_by_itself_is_refused_although_its_signatures_are_good():
    first = charter("ada")
    chain = CharterChain(charter_digest(first))
    with pytest.raises(BadSignature):
        chain.check(publish(first, signed(first, "ada"), "hub", GROUP.hub))
    with pytest.raises(BadSignature):
        chain.check(publish(first, signed(first, "ada"), "person:ada", GROUP.hub))


def test_a_further_signature_must_be_of_one_whom_either_version_names():
    first = charter("ada")
    second = charter("ada", "bea", threshold=2, previous=first)
    check_signature(signed(second, "bea")[0], second, first)
    with pytest.raises(CharterRefused):
        check_signature(sign_charter(second, "cid", PEOPLE["cid"].signing), second, first)
    assert signers(second, second, signed(second, "bea", "ada")) == ("ada", "bea")


def test_a_decision_key_stands_in_one_entry_only():
    key: DecisionKey = SecurityKey.es256().public
    value = charter("ada", "bea").model_dump()
    for person in value["people"]:
        person["decision_key"] = key.model_dump()
    with pytest.raises(ValueError, match="one party only"):
        Charter.model_validate(value)
