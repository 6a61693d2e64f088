"""Assertions: a party's word for a proof key, good for one hub, one minute, once."""

from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import BadProof, BadSignature
from protocol.tokens import client_assertion, read_assertion, token_request

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()
BOUND, AUDIENCE, NOW = "A" * 43, "consortia-hub:test/log", datetime(2026, 11, 24, 12, tzinfo=UTC)


def key_of(party):
    if party != "silo:ada":
        raise BadSignature(f"{party} is not named")
    return PUBLIC


def made(**changes):
    given = {"party": "silo:ada", "key": KEY, "audience": AUDIENCE, "thumbprint": BOUND, "now": NOW, "identifier": "j"}
    return client_assertion(**{**given, **changes})


def bent(**changes):
    claims = jwt.decode(made(), options={"verify_signature": False}) | changes
    return jwt.encode({name: value for name, value in claims.items() if value is not None}, KEY, algorithm="EdDSA")


def read(text, seconds=0):
    return read_assertion(text, key_of, AUDIENCE, NOW.timestamp() + seconds)


def test_an_assertion_says_who_and_for_which_proof_key():
    shown = read(made())
    assert (shown.party, shown.signing_key, shown.identifier, shown.thumbprint) == ("silo:ada", PUBLIC, "j", BOUND)
    assert shown.ends_at == NOW.timestamp() + 60


def test_an_assertion_lasts_a_minute_and_half_a_minute_of_skew_either_way():
    for seconds in (-30, 0, 60, 89):
        read(made(), seconds)
    for seconds in (-31, 90, 10**6):
        with pytest.raises(BadProof, match="clock"):
            read(made(), seconds)


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"aud": "consortia-hub:other/log"}, "another hub"),
        ({"aud": [AUDIENCE, "other"]}, "aud"),
        ({"iss": "silo:bern"}, "same party"),
        ({"iss": "nobody"}, "iss"),
        ({"exp": int(NOW.timestamp()) + 61}, "60 seconds ahead"),
        ({"exp": int(NOW.timestamp()), "iat": int(NOW.timestamp())}, "60 seconds ahead"),
        ({"iat": int(NOW.timestamp()) + 80, "exp": int(NOW.timestamp()) + 85}, "from the future"),
        ({"iat": None}, "iat"),
        ({"exp": None}, "exp"),
        ({"jti": None}, "jti"),
        ({"cnf": None}, "cnf"),
        ({"cnf": {"jkt": BOUND, "x": 1}}, "cnf"),
        ({"admin": True}, "admin"),
        ({"sub": "silo:bern"}, "not named"),
        ({"sub": "hub", "iss": "hub"}, "not named"),
        ({"sub": 7}, "not named"),
    ],
)
def test_an_assertion_of_another_form_or_for_another_hub_is_refused(changes, word):
    with pytest.raises(BadProof, match=word):
        read(bent(**changes))


def test_an_assertion_by_another_key_or_algorithm_is_refused():
    claims = jwt.decode(made(), options={"verify_signature": False})
    for text in (
        made(key=Ed25519PrivateKey.generate()),
        jwt.encode(claims, bytes.fromhex(PUBLIC), algorithm="HS256"),
        jwt.encode(claims, "", algorithm="none"),
    ):
        with pytest.raises(BadProof, match="not signed by the key"):
            read(text)


@given(st.text(max_size=100) | st.from_regex(r"[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}\.[A-Za-z0-9_-]{0,60}"))
def test_whatever_is_sent_for_an_assertion_is_refused_and_no_accident(text):
    with pytest.raises(BadProof):
        read(text)


def test_a_token_request_is_that_of_rfc_7523():
    assert token_request("a.b.c") == {
        "grant_type": "client_credentials",
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": "a.b.c",
    }
