import pytest
from pydantic import ValidationError

from protocol.chain import CharterChain
from protocol.charter import Charter, charter_digest, check_succession, key_words
from protocol.errors import BadSignature, CharterRefused
from protocol.signing import sign
from protocol.statements import CharterPublished
from protocol.words import spoken
from tests.sample_study import NOW, consortium, party


@pytest.fixture(scope="module")
def group():
    return consortium()


def follow(group, charters, founding, signer=None):
    """The newest charter of statements signed by ``signer``, the admin unless another is given."""
    chain = CharterChain(founding)
    for number, charter in enumerate(charters):
        body = CharterPublished(
            type="charter",
            issuer="person:ada",
            issued_at=NOW,
            nonce=f"{number:032x}",
            journal_head=None,
            charter=charter,
        )
        chain.check(sign(body, (signer or group.admin).signing))
    return chain.in_force


def test_a_chain_that_grows_by_members_is_followed_from_the_pinned_digest(group):
    first = group.charter(0)
    second = group.charter(2, first)
    third = group.charter(4, second)
    assert follow(group, [first, second, third], charter_digest(first)) == third


def test_a_hub_that_shows_another_founding_charter_is_refused(group):
    other = consortium()
    with pytest.raises(CharterRefused, match="rule 2: the founding"):
        follow(other, [other.charter(4)], charter_digest(group.charter(0)))


def test_a_later_version_does_not_serve_as_the_founding_one(group):
    second = group.charter(2, group.charter(0))
    with pytest.raises(CharterRefused, match="version 1"):
        follow(group, [second], charter_digest(second))


def test_a_version_that_is_skipped_repeated_or_rewritten_is_refused(group):
    first = group.charter(0)
    second, third = group.charter(1, first), group.charter(2, group.charter(1, first))
    for chain in ([first, third], [first, second, second], [first, group.charter(2, second)]):
        with pytest.raises(CharterRefused, match="rule 2"):
            follow(group, chain, charter_digest(first))


@pytest.mark.parametrize(
    ("field", "value"),
    [("hub_key", "ab" * 32), ("log_key", "cd" * 32), ("log_origin", "other.example/log"), ("consortium", "Other")],
)
def test_keys_of_hub_and_log_and_the_consortium_stay_what_they_were(group, field, value):
    first = group.charter(1)
    with pytest.raises(CharterRefused, match=f"rule 4: {field}"):
        check_succession(first, group.charter(1, first).model_copy(update={field: value}))


def test_a_members_keys_cannot_be_substituted_in_a_later_version(group):
    first = group.charter(2)
    second = group.charter(2, first)
    other = second.members[0].model_copy(update={"signing_key": party("x").public["signing_key"]})
    with pytest.raises(CharterRefused, match="rule 5"):
        check_succession(first, second.model_copy(update={"members": (other, second.members[1])}))


def test_a_member_cannot_be_removed_as_its_name_could_then_be_given_to_other_keys(group):
    first = group.charter(2)
    with pytest.raises(CharterRefused, match="rule 5"):
        check_succession(first, group.charter(1, first))


def test_who_is_not_in_the_charter_has_no_key(group):
    with pytest.raises(BadSignature, match="not a member"):
        group.charter(1).member("bravo")


def test_one_key_cannot_belong_to_two_parties(group):
    whole = group.charter(2)
    value = whole.model_dump()
    value["members"][1]["signing_key"] = value["members"][0]["signing_key"]
    with pytest.raises(ValidationError, match="one party only"):
        Charter.model_validate(value)


def test_six_words_name_both_public_keys(group):
    public = group.silos["alpha"].public
    words = key_words(**public)
    assert len(words.split()) == 6
    assert words == key_words(**public)
    other = group.silos["bravo"].public
    assert words != key_words(public["signing_key"], other["receiving_key"])
    assert words != key_words(other["signing_key"], public["receiving_key"])


def test_spoken_words_are_those_of_the_published_examples():
    assert spoken(bytes([127, 0, 0, 1])) == "lusab babad"
    assert spoken(bytes([63, 84, 220, 193])) == "gutih tugad"


def test_a_charter_that_the_admin_did_not_sign_is_refused(group):
    first = group.charter(0)
    with pytest.raises(BadSignature):
        follow(group, [first], charter_digest(first), signer=group.researcher)
