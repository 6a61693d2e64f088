import pytest
from pydantic import ValidationError

from protocol.charter import Charter, charter_digest, charter_words, key_words
from protocol.errors import BadSignature
from protocol.words import spoken
from tests.sample_study import consortium


@pytest.fixture(scope="module")
def group():
    return consortium()


def test_who_is_not_in_the_charter_has_no_key(group):
    with pytest.raises(BadSignature, match="not a member"):
        group.charter(1).member("bravo")
    with pytest.raises(BadSignature, match="not named"):
        group.charter(1).signing_key_of("person:mallory")


def test_one_key_cannot_belong_to_two_parties(group):
    value = group.charter(2).model_dump()
    value["members"][1]["signing_key"] = value["members"][0]["signing_key"]
    with pytest.raises(ValidationError, match="one party only"):
        Charter.model_validate(value)


def test_a_witness_cannot_be_a_member_twice(group):
    whole = group.charter(2)
    value = whole.model_dump() | {"witnesses": ({"name": "w.example", "key": whole.members[0].signing_key},)}
    with pytest.raises(ValidationError, match="one party only"):
        Charter.model_validate(value)


def test_an_outside_witness_does_not_take_a_members_key_name(group):
    value = group.charter(2).model_dump() | {"witnesses": ({"name": "test.example/log/silo/alpha", "key": "ab" * 32},)}
    with pytest.raises(ValidationError, match="member's key name"):
        Charter.model_validate(value)


@pytest.mark.parametrize("threshold", [0, 2])
def test_a_threshold_that_no_set_of_admins_meets_is_refused(group, threshold):
    with pytest.raises(ValidationError, match="threshold"):
        Charter.model_validate(group.charter(1).model_dump() | {"threshold": threshold})


@pytest.mark.parametrize(("members", "liars", "quorum"), [(0, 0, 1), (3, 0, 2), (4, 0, 3), (4, 1, 3), (5, 1, 4)])
def test_any_two_quorums_of_witnesses_share_one_that_is_no_liar(group, members, liars, quorum):
    value = group.charter(min(members, 4)).model_dump() | {"tolerated_liars": liars}
    if members > 4:
        value["witnesses"] = ({"name": "w.example", "key": "ab" * 32},)
    charter = Charter.model_validate(value)
    assert charter.quorum_of_witnesses == quorum
    assert 2 * quorum - members > liars


def test_six_words_name_both_public_keys(group):
    public = group.silos["alpha"].public
    words = key_words(**public)
    assert len(words.split()) == 6
    assert words == key_words(**public)
    other = group.silos["bravo"].public
    assert words != key_words(public["signing_key"], other["receiving_key"])
    assert words != key_words(other["signing_key"], public["receiving_key"])


def test_eight_words_name_a_charter(group):
    digest = charter_digest(group.charter(1))
    assert len(charter_words(digest).split()) == 8
    assert charter_words(digest) == spoken(bytes.fromhex(digest)[:16])


def test_spoken_words_are_those_of_the_published_examples():
    assert spoken(bytes([127, 0, 0, 1])) == "lusab babad"
    assert spoken(bytes([63, 84, 220, 193])) == "gutih tugad"
