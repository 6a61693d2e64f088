import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol import canonical
from protocol.authority import SPEAKERS, check_authority
from protocol.errors import BadSignature, Malformed
from protocol.signing import parse, sign, verify, verify_by
from protocol.statements import Body
from protocol.study_statements import StudyApproved, StudyProposed, StudyResumed
from tests.sample_study import NOW, consortium, contract

VECTORS = Path(__file__).parents[2] / "vectors" / "statements.json"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key().public_bytes_raw().hex()


def approval(issuer: str = "person:ada", study: str = "a" * 64) -> StudyApproved:
    return StudyApproved(
        type="study-approved",
        issuer=issuer,
        issued_at=NOW,
        nonce="0" * 32,
        journal_head=None,
        study=study,
        assertion=None,
    )


def test_a_signed_statement_reads_back_from_its_wire_bytes_and_verifies():
    signed = sign(approval(), KEY)
    read = parse(signed.wire)
    assert read == signed
    verify(read, PUBLIC)


def test_signatures_and_digests_are_those_of_the_golden_vectors():
    vectors = json.loads(VECTORS.read_text())
    for vector in vectors:
        body = approval(study=vector["study"])
        signed = sign(body, KEY)
        assert signed.wire.decode() == vector["wire"]
        assert signed.digest == vector["digest"]
        verify(parse(vector["wire"].encode()), vector["public_key"])


def test_every_changed_byte_is_refused_or_breaks_the_signature():
    wire = sign(approval(), KEY).wire
    for at in range(len(wire)):
        damaged = wire[:at] + bytes([wire[at] ^ 1]) + wire[at + 1 :]
        with pytest.raises((Malformed, BadSignature)):
            verify(parse(damaged), PUBLIC)


@pytest.mark.parametrize(
    "respelt",
    [
        lambda wire: wire + b"\n",
        lambda wire: b" " + wire,
        lambda wire: wire.replace(b'"body":{', b'"body": {'),
        lambda wire: wire.replace(b"person:ada", b"person\\u003aada"),
        lambda wire: wire.replace(b'"journal_head":null,', b""),
        lambda wire: wire.replace(b'"journal_head":null,', b'"journal_head":null,"journal_head":null,'),
        lambda wire: wire.replace(b'"type"', b'"typf":1,"type"'),
        lambda wire: wire[:-1] + b',"signature":"' + b"0" * 128 + b'"}',
        lambda wire: wire.replace(b'"body"', b'"bodz"'),
        lambda wire: wire[: -len("}")] + b',"x":1}',
    ],
)
def test_a_statement_has_one_spelling(respelt):
    wire = sign(approval(), KEY).wire
    assert respelt(wire) != wire
    with pytest.raises(Malformed):
        parse(respelt(wire))


def test_a_signature_for_one_type_does_not_serve_for_another():
    heading = {"issuer": "person:ada", "issued_at": NOW, "nonce": "0" * 32, "journal_head": None, "study": "a" * 64}
    signed = sign(StudyResumed(type="study-resumed", **heading), KEY)
    value = canonical.decode(signed.wire)
    value["body"]["type"] = "release-requested"
    forged = parse(canonical.encode(value))
    with pytest.raises(BadSignature):
        verify(forged, PUBLIC)


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"type": "study-erased"},
        {"issuer": "silo:../x"},
        {"issuer": "root"},
        {"nonce": "00"},
        {"issued_at": "2026-11-22 12:00"},
        {"issued_at": "٢٠٢٦-11-22T12:00:00Z"},
        {"study": "A" * 64},
    ],
)
def test_unknown_types_and_fields_and_values_out_of_form_are_refused(change):
    body = {**approval().model_dump(mode="json"), **change}
    wire = canonical.encode({"body": body, "signature": "0" * 128})
    with pytest.raises(Malformed):
        parse(wire)


def test_a_missing_field_is_refused_even_where_a_default_would_do():
    body = approval().model_dump(mode="json")
    del body["journal_head"]
    with pytest.raises(Malformed, match="journal_head"):
        parse(canonical.encode({"body": body, "signature": "0" * 128}))


def test_another_partys_key_does_not_verify_and_a_stranger_has_none():
    group = consortium()
    charter = group.charter(4)
    verify_by(sign(approval(), group.admin.signing), charter)
    with pytest.raises(BadSignature):
        verify_by(sign(approval(), group.researcher.signing), charter)
    with pytest.raises(BadSignature, match="not named"):
        verify_by(sign(approval("person:mallory"), group.admin.signing), charter)


def test_who_may_say_what_is_one_table_that_covers_every_type():
    from typing import get_args

    types = {member.model_fields["type"].annotation.__args__[0] for member in get_args(get_args(Body)[0])}
    assert types == set(SPEAKERS)


def test_only_the_admin_approves_and_only_the_lead_proposes():
    charter = consortium().charter(4)
    check_authority(approval("person:ada"), charter)
    for issuer in ("person:rosa", "silo:alpha", "hub"):
        with pytest.raises(BadSignature, match="role"):
            check_authority(approval(issuer), charter)
    proposal = StudyProposed(
        type="study-proposed", issuer="person:rosa", issued_at=NOW, nonce="1" * 32, journal_head=None,
        contract=contract(lead="ada", recipients=["rosa"]),
    )  # fmt: skip
    with pytest.raises(BadSignature, match="lead"):
        check_authority(proposal, charter)


def test_a_contract_survives_the_journey_in_a_statement_unchanged():
    group = consortium()
    body = StudyProposed(
        type="study-proposed", issuer="person:rosa", issued_at=NOW, nonce="1" * 32, journal_head=None,
        contract=contract(),
    )  # fmt: skip
    read = parse(sign(body, group.researcher.signing).wire)
    assert isinstance(read.body, StudyProposed)
    assert read.body.contract == contract()
