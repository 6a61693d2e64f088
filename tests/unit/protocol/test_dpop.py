"""DPoP proofs: known answers of the RFCs, and that a proof is good for one request and no other."""

import json
import time
from datetime import UTC, datetime

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol import dpop
from protocol.dpop import Asked, check_proof, make_proof, origin_of, read_proof, thumbprint, token_hash
from protocol.errors import BadProof

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
URL, NOW = "https://hub.example/v1/silos", datetime(2026, 11, 24, 12, tzinfo=UTC)
ASKED = Asked("GET", "https://hub.example", "/v1/silos")
TOKEN = "t"
JTI = "0123456789abcdef"


def made(**changes):
    given = {"key": KEY, "method": "GET", "url": URL, "now": NOW, "identifier": JTI, "token": "t", "nonce": "n"}
    return make_proof(**{**given, **changes})


def check(text, asked=ASKED, seconds=0.0, token=TOKEN):
    proof = read_proof(text)
    check_proof(proof, asked, NOW.timestamp() + seconds, token)
    return proof


def test_a_thumbprint_is_that_of_rfc_8037():
    """Appendix A.3, with the key of appendix A.2."""
    public = jwt.utils.base64url_decode("11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo")
    assert thumbprint(public) == "kPrK_qmxVWaYVA9wwBF6Iuo3vVzz7TxHCTwXBygrS4k"


def test_the_hash_of_a_token_is_that_of_rfc_9449():
    """Figure 13, with the access token of figure 12."""
    assert token_hash("Kz~8mXK1EalYznwH-LC-1fBAo.4Ljp~zsPE_NeO.gxU") == "fUHyO2r2Z3DZ53EsNrWBb0xWXoaNy59IiKCAqksmQEo"


def test_a_proof_says_what_it_was_made_for_and_nothing_private():
    proof = check(made())
    assert proof.thumbprint == thumbprint(KEY.public_key().public_bytes_raw())
    assert (proof.identifier, proof.nonce, proof.issued_at) == (JTI, "n", NOW.timestamp())
    header = jwt.get_unverified_header(made())
    assert set(header) == {"typ", "alg", "jwk"} and set(header["jwk"]) == {"kty", "crv", "x"}


def test_a_query_and_a_fragment_are_left_out_of_a_proof():
    assert read_proof(made(url=URL + "?after=3#x")).url == URL


@pytest.mark.parametrize(
    "asked",
    [
        Asked("POST", ASKED.origin, ASKED.path),
        Asked("get", ASKED.origin, ASKED.path),
        Asked("GET", "http://hub.example", ASKED.path),
        Asked("GET", "https://hub.example:8443", ASKED.path),
        Asked("GET", "https://hub.example.evil", ASKED.path),
        Asked("GET", ASKED.origin, "/v1/silos/"),
        Asked("GET", ASKED.origin, "/v1/SILOS"),
        Asked("GET", ASKED.origin, "/"),
    ],
)
def test_a_proof_for_another_request_is_refused(asked):
    with pytest.raises(BadProof, match=r"htm|htu"):
        check(made(), asked)


@pytest.mark.parametrize("url", ["HTTPS://HUB.example/v1/silos", "https://hub.example:443/v1/silos", URL + "?"])
def test_addresses_are_compared_in_normal_form(url):
    check(made(url=url))
    check(made(url="https://hub.example/v1/%73ilos"))


def test_a_proof_is_good_for_a_minute_and_half_a_minute_of_skew():
    for seconds in (-30, 0, 60, 90):
        check(made(), seconds=seconds)
    for seconds in (-31, 91, 10**6):
        with pytest.raises(BadProof, match="iat"):
            check(made(), seconds=seconds)


def test_a_proof_goes_with_one_token_or_with_none():
    check(made(token=None), token=None)
    for text, token in ((made(), "u"), (made(), None), (made(token=None), "t")):
        with pytest.raises(BadProof, match="ath"):
            check(text, token=token)


@given(place=st.integers(min_value=0), letter=st.sampled_from("AQgw_-.=9"))
def test_no_letter_of_a_proof_can_be_changed(place, letter):
    sound = made()
    place %= len(sound)
    bent = sound[:place] + letter + sound[place + 1 :]
    if bent != sound:
        with pytest.raises(BadProof):
            read_proof(bent)


@given(
    st.one_of(st.text(max_size=200), st.from_regex(r"[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,80}\.[A-Za-z0-9_-]{0,90}"))
)
def test_whatever_stands_in_the_header_a_proof_is_read_or_refused(text):
    with pytest.raises(BadProof):
        read_proof(text)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
        max_leaves=6,
    ),
    st.sampled_from(["jti", "htm", "htu", "iat", "ath", "nonce", "typ", "alg", "jwk", "crit", "b64", "other"]),
)
def test_a_signed_proof_with_any_strange_value_in_it_is_read_or_refused(value, name):
    header = jwt.get_unverified_header(made())
    claims = jwt.decode(made(), options={"verify_signature": False})
    place = header if name in ("typ", "alg", "jwk", "crit", "b64") else claims
    place[name] = value
    signing = b".".join(jwt.utils.base64url_encode(json.dumps(part).encode()) for part in (header, claims))
    text = (signing + b"." + jwt.utils.base64url_encode(KEY.sign(signing))).decode()
    try:
        proof = read_proof(text)
    except BadProof:
        return
    assert name in ("jti", "htm", "htu", "iat", "ath", "nonce")
    assert proof.thumbprint == thumbprint(KEY.public_key().public_bytes_raw())


@pytest.mark.parametrize("member", ["d", "kid", "k", "n"])
def test_a_key_with_a_private_or_any_other_member_is_refused(member):
    with pytest.raises(BadProof, match="jwk"):
        read_proof(signed(lambda jwk: {**jwk, member: jwk["x"]}))


def test_a_key_in_another_spelling_is_refused_as_it_would_have_another_thumbprint():
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    read_proof(signed(lambda jwk: jwk))
    with pytest.raises(BadProof):
        read_proof(signed(lambda jwk: {**jwk, "x": jwk["x"][:-1] + letters[letters.index(jwk["x"][-1]) + 1]}))


def signed(change):
    """A proof with another ``jwk``, signed by the key all the same."""
    header = jwt.get_unverified_header(made())
    header.pop("alg")
    claims = jwt.decode(made(), options={"verify_signature": False})
    return jwt.encode(claims, KEY, algorithm="EdDSA", headers={**header, "jwk": change(header["jwk"])})


def test_a_proof_is_named_by_key_and_identifier():
    other = Ed25519PrivateKey.generate()
    names = {read_proof(one).digest for one in (made(), made(method="PUT"), made(key=other), made(identifier=JTI * 2))}
    assert len(names) == 3 and all(len(name) == 32 for name in names)


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://hub.example/v1?x", "https://hub.example"),
        ("HTTPS://Hub.Example:443", "https://hub.example"),
        ("http://127.0.0.1:80/", "http://127.0.0.1"),
        ("http://[::1]:8700/x", "http://[::1]:8700"),
        ("ftp://hub.example", None),
        ("https://a@hub.example", None),
        ("https://hub.example:x", None),
        ("https://hub.example:99999", None),
        ("//hub.example", None),
        ("https://[::1", None),
        ("", None),
    ],
)
def test_an_origin_has_one_form(url, origin):
    assert origin_of(url) == origin


def test_a_proof_of_the_clock_is_that_of_the_clock_passed_in():
    assert read_proof(made()).issued_at == int(NOW.timestamp()) != int(time.time())
    assert dpop.PROOF_AGE_S + dpop.SKEW_S < 120, "used proofs are remembered for two nonces of a minute"
