"""Signed statements: whatever changes something is one, and is recorded as the bytes that were received.

On the wire a statement is the canonical JSON (RFC 8785) of ``{"body": {...}, "signature": "hex"}``. The
Ed25519 signature (RFC 8032) covers ``consortia/statement/v1`` || 0x00 || type || 0x00 || canonical body, so a
signature made for one type, or for another protocol, never serves for this one. A statement's name is the
SHA-256 of its wire bytes.
"""

import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import TypeAdapter, ValidationError

from protocol import canonical
from protocol.charter import Charter
from protocol.errors import BadSignature, Malformed
from protocol.statements import Body
from protocol.study import explain

DOMAIN = b"consortia/statement/v1"

_BODY: TypeAdapter[Body] = TypeAdapter(Body)
_SIGNATURE = re.compile(r"[0-9a-f]{128}")
_TAIL = re.compile(rb',"signature":"([0-9a-f]{128})"}')
_HEAD = b'{"body":'
_TAIL_BYTES = len(',"signature":"') + 128 + len('"}')


@dataclass(frozen=True, slots=True)
class Signed:
    """A statement as it travels. ``wire`` is the exact canonical bytes; ``digest`` names them."""

    body: Body
    signature: str
    wire: bytes

    @property
    def digest(self) -> str:
        return canonical.digest(self.wire)

    @property
    def message(self) -> bytes:
        """The bytes that the signature covers; the canonical body stands in the wire between two constants."""
        return _message(self.body.type, self.wire[len(_HEAD) : -_TAIL_BYTES])


def sign(body: Body, key: Ed25519PrivateKey) -> Signed:
    """``body`` signed by ``key``."""
    value = body.model_dump(mode="json")
    signature = key.sign(_message(body.type, canonical.encode(value))).hex()
    return Signed(body, signature, canonical.encode({"body": value, "signature": signature}))


def parse(wire: bytes) -> Signed:
    """The statement in ``wire``; nothing is verified yet. Raises ``Malformed`` for any other bytes."""
    return _read(wire) or _explain(wire)


def _read(wire: bytes) -> Signed | None:
    """The statement, if these are its canonical bytes: written back, the body must give the very same."""
    tail = _TAIL.fullmatch(wire, len(wire) - _TAIL_BYTES) if len(wire) > _TAIL_BYTES else None
    if tail is None or not wire.startswith(_HEAD) or len(wire) > canonical.MAX_DOCUMENT_BYTES:
        return None
    text = wire[len(_HEAD) : -_TAIL_BYTES]
    try:
        body = _BODY.validate_json(text)
        again = canonical.encode(body.model_dump(mode="json"))
    except (ValidationError, Malformed):
        return None
    return Signed(body, tail[1].decode(), wire) if again == text else None


def _explain(wire: bytes) -> Signed:
    """As ``_read``, step by step: raises ``Malformed`` with what is wrong."""
    value = canonical.decode(wire)
    if not isinstance(value, dict) or set(value) != {"body", "signature"} or not isinstance(value["signature"], str):
        raise Malformed('a statement is {"body": {...}, "signature": "hex"}')
    if not _SIGNATURE.fullmatch(value["signature"]):
        raise Malformed("signature: must be 128 lower-case hexadecimal characters")
    try:
        body = _BODY.validate_json(wire[len(_HEAD) : -_TAIL_BYTES])
    except ValidationError as error:
        raise Malformed("statement refused: " + explain(error)) from None
    # A model that fills in a default would sign other bytes than those that were sent.
    if body.model_dump(mode="json") != value["body"]:
        raise Malformed("statement refused: every field must be present, in its canonical form")
    return Signed(body, value["signature"], wire)


def verify(signed: Signed, signing_key: str) -> None:
    """Raises ``BadSignature`` unless ``signing_key`` (hex Ed25519 public key) signed the statement."""
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signing_key))
        key.verify(bytes.fromhex(signed.signature), signed.message)
    except (InvalidSignature, ValueError):
        raise BadSignature(f"{signed.body.type} of {signed.body.issuer}: signature does not verify") from None


def verify_by(signed: Signed, charter: Charter) -> None:
    """Raises ``BadSignature`` unless the charter's key for the statement's issuer signed it."""
    verify(signed, charter.signing_key_of(signed.body.issuer))


def _message(kind: str, body: bytes) -> bytes:
    return DOMAIN + b"\x00" + kind.encode() + b"\x00" + body
