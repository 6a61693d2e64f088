"""A decision's assertion counts for one decision, by one key, made on one's own machine; and for nothing else."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Literal

import pytest
from fido2 import cbor
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol import canonical
from protocol.decision import (
    REGISTRATION,
    Assertion,
    DecisionKey,
    challenge,
    check_assertion,
    check_decision,
    decision_message,
    register,
    verify_assertion,
)
from protocol.errors import BadSignature, Malformed
from protocol.ids import Strict
from tests.security_key import (
    AT,
    BE,
    BS,
    ED,
    ORIGIN,
    RP_ID,
    UP,
    UV,
    SecurityKey,
    authenticator_data,
    client_data,
    text,
)

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "decision.json").read_text())
KIND, MESSAGE = "study-approved", b'{"assertion":null,"study":"ab"}'
KEYS = pytest.mark.parametrize("key", [SecurityKey.es256(), SecurityKey.eddsa()], ids=["ES256", "EdDSA"])
KEY = SecurityKey.es256()
ASKED = challenge(KIND, MESSAGE)


class Approval(Strict):
    type: Literal["study-approved"] = "study-approved"
    issuer: str = "person:ada"
    nonce: str = "0"
    assertion: Assertion | None = None


def refuses(assertion: Assertion, why: str, key: SecurityKey = KEY, kind: str = KIND, message: bytes = MESSAGE) -> None:
    with pytest.raises(BadSignature, match=why):
        verify_assertion(assertion, key.public, kind, message)


@KEYS
def test_a_touch_of_the_persons_key_is_an_assertion_of_that_decision(key):
    verify_assertion(key.touch(KIND, MESSAGE), key.public, KIND, MESSAGE)


def test_the_challenge_is_the_digest_that_the_document_says():
    told = hashlib.sha256(b"consortia/decision/v1\x00study-approved\x00" + MESSAGE).digest()
    assert challenge(KIND, MESSAGE) == told


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: vector["algorithm"])
def test_golden_assertions_verify_and_their_challenges_are_reproduced(vector):
    key = DecisionKey.model_validate(vector["decision_key"])
    assertion = Assertion.model_validate(vector["assertion"])
    assert challenge(vector["type"], vector["message"].encode()).hex() == vector["challenge"]
    verify_assertion(assertion, key, vector["type"], vector["message"].encode())
    made = register(base64.b64decode(vector["attestation_object"]), base64.b64decode(vector["created_with"]), b"nonce")
    assert made == key


@pytest.mark.parametrize(
    "origin",
    [
        "https://hub.example",
        "http://localhost:49152",
        "http://127.0.0.1:49152",
        f"https://{RP_ID}:49152",
        f"http://{RP_ID}",
        f"http://{RP_ID}:80",
        f"http://{RP_ID}:49152/",
        f"http://{RP_ID}:49152\n",
        f"http://{RP_ID}.evil.example:49152",
        f"http://evil.{RP_ID}:49152",
        f"http://{RP_ID.upper()}:49152",
        f"http://{RP_ID.replace('.', '-')}:49152",
        f"http://{RP_ID}:491520",
        f"http://{RP_ID}:99999",
    ],
)
def test_a_page_of_another_origin_never_makes_a_decision(origin):
    refuses(KEY.touch(KIND, MESSAGE, origin=origin), "origin")


@pytest.mark.parametrize("rp_id", ["hub.example", "localhost", f"evil.{RP_ID}", ""])
def test_a_credential_for_logins_never_makes_a_decision(rp_id):
    refuses(KEY.touch(KIND, MESSAGE, rp_id=rp_id), "rpIdHash")


def test_a_framed_page_never_makes_a_decision():
    for value in (True, "false", 0):
        refuses(KEY.touch(KIND, MESSAGE, crossOrigin=value), "crossOrigin")
    refuses(KEY.touch(KIND, MESSAGE, topOrigin="https://hub.example"), "crossOrigin")


def test_a_browser_that_says_nothing_of_frames_says_that_there_was_none():
    verify_assertion(KEY.touch(KIND, MESSAGE, crossOrigin=None), KEY.public, KIND, MESSAGE)


@pytest.mark.parametrize(
    ("flags", "why"),
    [
        (UV, "presence"),
        (UP, "verification"),
        (0, "presence"),
        (UP | UV | BE, "copied"),
        (UP | UV | BE | BS, "copied"),
        (UP | UV | BS, "copied"),
        (UP | UV | 0x02, "reserved"),
        (UP | UV | 0x20, "reserved"),
        (UP | UV | ED, "readable"),
    ],
)
def test_the_person_was_there_was_verified_and_holds_the_only_copy(flags, why):
    refuses(KEY.touch(KIND, MESSAGE, flags=flags), why)


def test_a_sign_count_that_goes_back_is_ignored():
    for counter in (9, 0, 2**32 - 1):
        data = authenticator_data(counter=counter)
        verify_assertion(KEY.answer(data, client_data("webauthn.get", ASKED)), KEY.public, KIND, MESSAGE)


def test_an_assertion_serves_for_no_other_message_type_or_key():
    assertion = KEY.touch(KIND, MESSAGE)
    refuses(assertion, "challenge", message=MESSAGE + b" ")
    refuses(assertion, "challenge", kind="study-objected")
    refuses(assertion, "signature", key=SecurityKey.es256(8))
    refuses(assertion, "signature", key=SecurityKey.eddsa())
    refuses(SecurityKey.eddsa().touch(KIND, MESSAGE), "signature")


def test_type_and_message_can_not_flow_into_each_other():
    with pytest.raises(Malformed, match="NUL"):
        challenge("study\x00x", b"y")  # else the same bytes as of type "study" and message "x\0y"
    refuses(KEY.touch("study", b"-approved\x00" + MESSAGE), "challenge")


def test_making_a_key_is_no_decision_and_a_decision_makes_no_key():
    refuses(KEY.answer(authenticator_data(), client_data("webauthn.create", ASKED)), "type")
    refuses(KEY.answer(authenticator_data(), client_data("payment.get", ASKED)), "type")
    with pytest.raises(BadSignature, match="type"):
        register(KEY.attest(), client_data("webauthn.get", challenge(REGISTRATION, b"nonce")), b"nonce")
    refuses(KEY.touch(KIND, MESSAGE, flags=UP | UV | AT, more=bytes(18) + KEY.cose), "new credential")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda raw: raw[:-1] + b',"origin":"https://hub.example"}',
        lambda raw: raw[:-1] + b',"type":"webauthn.get"}',
        lambda raw: b"\xef\xbb\xbf" + raw,
        lambda raw: raw + b"}",
        lambda raw: raw.replace(b"crossOrigin", b"cross\xff"),
        lambda raw: b"[" + raw + b"]",
        lambda raw: b'{"a":' + b"[" * 1400,
    ],
    ids=["origin twice", "type twice", "byte order mark", "trailing", "not UTF-8", "a list", "deep"],
)
def test_client_data_that_could_be_read_in_two_ways_is_refused(spoil):
    raw = spoil(client_data("webauthn.get", ASKED))
    refuses(KEY.answer(authenticator_data(), raw), "client data")


def test_fields_of_another_type_are_refused():
    for name, value in (("challenge", 7), ("challenge", None), ("origin", [ORIGIN]), ("origin", None), ("type", 1)):
        refuses(KEY.touch(KIND, MESSAGE, **{name: value}), name)
    refuses(KEY.touch(KIND, MESSAGE, challenge="é"), "challenge")


def test_a_newer_browsers_further_fields_are_read_over():
    verify_assertion(KEY.touch(KIND, MESSAGE, other_keys_can_be_added_here="so"), KEY.public, KIND, MESSAGE)


@pytest.mark.parametrize(
    "raw",
    [
        authenticator_data() + b"\x00" * 2,
        authenticator_data() + b"\x00",
        authenticator_data(flags=UP | UV | ED) + b"\xa1",
        authenticator_data(flags=UP | UV | ED) + b"\xa1\x61a\x43ab",
        authenticator_data(flags=UP | UV | ED) + b"\xa2\x61a\x01\x61a\x01",
        authenticator_data(flags=UP | UV | ED) + b"\xa1\x61a\xf6",
        authenticator_data(flags=UP | UV | ED) + b"\xa1\x61a\x18\x01",
        authenticator_data(flags=UP | UV | ED) + b"\xa1\x80\x01",
        authenticator_data(flags=UP | UV | ED) + b"\x81" * 600,
        authenticator_data(flags=UP | UV | ED) + b"\xa0\x00",
        authenticator_data()[:36],
        authenticator_data(flags=UP | UV | AT) + bytes(16) + b"\xff\xff" + bytes(40),
        authenticator_data(flags=UP | UV | AT) + bytes(18) + b"\xa0",
    ],
)
def test_authenticator_data_that_is_cut_long_or_not_canonical_is_refused(raw):
    assertion = KEY.touch(KIND, MESSAGE).model_copy(update={"authenticator_data": text(raw)})
    refuses(assertion, "authenticator data")


def test_what_a_key_adds_unasked_in_canonical_form_is_read_over():
    touched = KEY.touch(KIND, MESSAGE, flags=UP | UV | ED, more=cbor.encode({"credProtect": 2}))
    verify_assertion(touched, KEY.public, KIND, MESSAGE)


@KEYS
@given(data=st.data())
def test_one_bit_anywhere_in_an_assertion_breaks_it(key, data):
    assertion = key.touch(KIND, MESSAGE)
    name = data.draw(st.sampled_from(["authenticator_data", "client_data", "signature"]))
    raw = bytearray(base64.b64decode(getattr(assertion, name)))
    bit = data.draw(st.integers(0, 8 * 400)) % (8 * len(raw))
    raw[bit // 8] ^= 1 << bit % 8
    with pytest.raises(BadSignature):
        verify_assertion(assertion.model_copy(update={name: text(bytes(raw))}), key.public, KIND, MESSAGE)


@given(st.binary(max_size=80), st.binary(max_size=80), st.binary(max_size=80))
def test_junk_is_refused_and_nothing_else_happens(data, client, signature):
    junk = {"authenticator_data": text(data), "client_data": text(client), "signature": text(signature)}
    refuses(KEY.touch(KIND, MESSAGE).model_copy(update=junk), "security key")


def cose(**changes):
    names = {"kty": 1, "alg": 3, "crv": -1, "x": -2, "y": -3, "more": 5}
    value = cbor.decode(KEY.cose) | {names[name]: one for name, one in changes.items()}
    return cbor.encode({name: one for name, one in value.items() if one is not None})


@pytest.mark.parametrize(
    "raw",
    [
        cose(alg=-35),
        cose(alg=-257),
        cose(alg=-9),
        cose(alg=None),
        cose(alg=True),
        cose(kty=1),
        cose(crv=2),
        cose(crv=True),
        cose(x=bytes(31)),
        cose(y=None),
        cose(y=True),
        cose(more=1),
        SecurityKey.eddsa().cose[:-1],
        SecurityKey.eddsa().cose + b"\x00",
        b"\xbf" + KEY.cose[1:] + b"\xff",
        KEY.cose[:1] + KEY.cose[3:5] + KEY.cose[1:3] + KEY.cose[5:],
        bytes(77),
        b"\x80" * 60,
    ],
)
def test_a_decision_key_is_es256_or_eddsa_in_canonical_form(raw):
    with pytest.raises(ValidationError):
        DecisionKey(credential=text(bytes(32)), public_key=text(raw))


def test_a_point_that_is_not_on_the_curve_verifies_nothing():
    off = DecisionKey(credential=text(bytes(32)), public_key=text(cose(y=bytes(32))))
    with pytest.raises(BadSignature, match="signature"):
        verify_assertion(KEY.touch(KIND, MESSAGE), off, KIND, MESSAGE)


def test_bytes_have_one_spelling_in_base64():
    fields = KEY.touch(KIND, MESSAGE).model_dump()
    loose = {**fields, "client_data": "YWJjZB=="}
    assert base64.b64decode(loose["client_data"]) == base64.b64decode("YWJjZA==")
    for bad in (loose, {**fields, "signature": "abc"}, {**fields, "more": ""}, {**fields, "client_data": "A" * 2052}):
        with pytest.raises(ValidationError):
            Assertion.model_validate(bad)
    with pytest.raises(ValidationError, match="canonical base64"):
        DecisionKey(credential=text(bytes(16))[:-3] + "B==", public_key=text(KEY.cose))


def decided(key: SecurityKey = KEY, **fields: str) -> Approval:
    body = Approval(**fields)
    return body.model_copy(update={"assertion": key.touch(body.type, decision_message(body))})


def test_the_message_is_the_body_with_the_assertion_null():
    body = decided()
    value = {"type": "study-approved", "issuer": "person:ada", "nonce": "0", "assertion": None}
    assert decision_message(body) == canonical.encode(value)


def test_who_has_a_decision_key_decides_with_it_and_who_has_none_does_not():
    check_decision(decided(), KEY.public)
    check_decision(Approval(), None)
    with pytest.raises(BadSignature, match=r"of person:ada: .* needs an assertion"):
        check_decision(Approval(), KEY.public)
    with pytest.raises(BadSignature, match="no decision key"):
        check_decision(decided(), None)


def test_an_assertion_copied_into_another_statement_is_refused():
    copied = decided().model_copy(update={"nonce": "1"})
    with pytest.raises(BadSignature, match="challenge"):
        check_decision(copied, KEY.public)
    with pytest.raises(BadSignature, match="challenge"):
        check_decision(decided().model_copy(update={"issuer": "person:mallory"}), KEY.public)


def test_a_charters_signature_is_asserted_as_such():
    touched = KEY.touch("charter", b"{}")
    check_assertion(touched, KEY.public, "charter", b"{}")
    check_assertion(None, None, "charter", b"{}")
    with pytest.raises(BadSignature):
        check_assertion(touched, KEY.public, "charter", b'{"version":2}')


CREATED = client_data("webauthn.create", challenge(REGISTRATION, b"nonce"))


@KEYS
def test_a_new_key_is_read_from_what_the_browser_gives(key):
    assert register(key.attest(), CREATED, b"nonce") == key.public
    with_extension = key.attest(flags=UP | UV | AT | ED, more=cbor.encode({"credProtect": 2}))
    assert register(with_extension, CREATED, b"nonce") == key.public


@pytest.mark.parametrize(
    ("attested", "why"),
    [
        (KEY.attest(flags=UP | AT), "verification"),
        (KEY.attest(flags=UV | AT), "presence"),
        (KEY.attest(flags=UP | UV | AT | BE), "copied"),
        (KEY.attest(rp_id="hub.example"), "rpIdHash"),
        (KEY.attest(more=b"\x00"), "authenticator data"),
        (KEY.attest()[:-1], "attestation object"),
        (KEY.attest() + b"\x00", "attestation object"),
        (cbor.encode({"fmt": "none", "attStmt": {}, "authData": authenticator_data()}), "no new credential"),
        (cbor.encode({"fmt": "none", "attStmt": {}, "authData": "text"}), "attestation object"),
        (cbor.encode([1]), "attestation object"),
        (b"", "attestation object"),
        (SecurityKey(KEY.private, bytes(15)).attest(), "16 bytes"),
        (SecurityKey(KEY.private, bytes(1024)).attest(), "1023"),
    ],
)
def test_a_key_that_could_not_decide_later_is_not_registered(attested, why):
    with pytest.raises(BadSignature, match=why):
        register(attested, CREATED, b"nonce")


def test_an_answer_to_another_registration_is_refused():
    with pytest.raises(BadSignature, match="challenge"):
        register(KEY.attest(), CREATED, b"another nonce")


@given(st.binary(max_size=120))
def test_a_junk_attestation_is_refused_and_nothing_else_happens(junk):
    with pytest.raises(BadSignature):
        register(junk, CREATED, b"nonce")
