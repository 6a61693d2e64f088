"""Decisions confirmed by a touch: a person with a ``decision_key`` in the charter signs with that FIDO2 key too.

The rules (trust.md, "Decisions are signed away from the hub"):

1. A decision is a statement's body with the field ``assertion``, or a charter. This module checks the assertion; the
   Ed25519 signature, which a statement has over all of its body, is checked as for every statement.
2. A person with a decision key asserts every decision; a person without one never does. Nothing else is accepted.
3. The assertion's challenge is SHA-256(``consortia/decision/v1`` || 0x00 || type || 0x00 || message), where the message
   is the body's canonical JSON with ``assertion`` null, or the charter's canonical JSON. So it serves for one decision.
4. The key is on a device and can't leave it, saw a touch, and verified its user; the page that asked was served on
   this person's machine (``protocol.webauthn``). A login at the hub has another relying party, and never serves here.

``protocol.webauthn`` is imported where it is needed: its library takes a tenth of a second to load, and most commands
meet no security key.
"""

import base64
import hashlib
from collections.abc import Mapping
from typing import Annotated, Any, Final, Protocol, Self

from pydantic import Field, model_validator

from protocol import canonical
from protocol.errors import BadSignature, Malformed
from protocol.ids import Base64, Strict

__all__ = [
    "Asserted",
    "Assertion",
    "Decided",
    "DecisionKey",
    "challenge",
    "check_assertion",
    "check_decision",
    "decision_message",
    "register",
    "verify_assertion",
]

DOMAIN: Final = b"consortia/decision/v1"
REGISTRATION: Final = "decision-key"
"""The type in a registration's challenge; no statement has it."""


def _exact(text: str, name: str) -> bytes:
    """The bytes of ``text``, if it is their one encoding (RFC 4648, section 3.5)."""
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        raise ValueError(f"{name}: not base64") from None
    if base64.b64encode(raw).decode() != text:
        raise ValueError(f"{name}: not the canonical base64 of its bytes")
    return raw


class DecisionKey(Strict):
    """A person's FIDO2 key: ``credential`` is its id, ``public_key`` a COSE key (ES256 or EdDSA), both in base64."""

    credential: Annotated[Base64, Field(min_length=24, max_length=1364)]
    public_key: Annotated[Base64, Field(min_length=56, max_length=104)]

    @model_validator(mode="after")
    def _usable(self) -> Self:
        from protocol import webauthn

        _exact(self.credential, "credential")
        try:
            webauthn.read_public_key(_exact(self.public_key, "public_key"))
        except webauthn.SecurityKeyRefused as refusal:
            raise ValueError(str(refusal)) from None
        return self


class Assertion(Strict):
    """A security key's answer to a decision's challenge, as the browser gives it; all in base64."""

    authenticator_data: Annotated[Base64, Field(min_length=52, max_length=1024)]
    client_data: Annotated[Base64, Field(min_length=4, max_length=2048)]
    signature: Annotated[Base64, Field(min_length=4, max_length=128)]

    @model_validator(mode="after")
    def _one_encoding(self) -> Self:
        for name in ("authenticator_data", "client_data", "signature"):
            _exact(getattr(self, name), name)
        return self


class Asserted(Protocol):
    """What may hold an assertion: a statement's body, or a charter's signature."""

    @property
    def assertion(self) -> Assertion | None: ...
    def model_copy(self, *, update: Mapping[str, Any] | None = None) -> Self: ...


class Decided(Asserted, Protocol):
    """A statement's body that carries a decision."""

    @property
    def type(self) -> str: ...
    @property
    def issuer(self) -> str: ...
    def model_dump(self, *, mode: str) -> dict[str, Any]: ...


def challenge(kind: str, message: bytes) -> bytes:
    """32 bytes for the security key to sign: they name the type of the decision and its message."""
    if "\x00" in kind:
        raise Malformed("a decision's type holds no NUL: it would flow into the message")
    return hashlib.sha256(DOMAIN + b"\x00" + kind.encode() + b"\x00" + message).digest()


def decision_message(body: Decided) -> bytes:
    """What an assertion in ``body`` is about: its canonical JSON with ``assertion`` null."""
    return canonical.encode({**body.model_dump(mode="json"), "assertion": None})


def verify_assertion(assertion: Assertion, key: DecisionKey, kind: str, message: bytes) -> None:
    """Raises ``BadSignature`` unless ``key`` asserted this very ``message`` of this ``kind``."""
    from protocol import webauthn

    client_data, data = base64.b64decode(assertion.client_data), base64.b64decode(assertion.authenticator_data)
    webauthn.check_client_data(client_data, "webauthn.get", challenge(kind, message))
    webauthn.check_authenticator_data(data)
    signature = base64.b64decode(assertion.signature)
    webauthn.check_signature(base64.b64decode(key.public_key), data, client_data, signature)


def check_assertion(assertion: Assertion | None, key: DecisionKey | None, kind: str, message: bytes) -> None:
    """Rule 2, for a decision that is no statement (a charter's signature). Raises ``BadSignature``."""
    if key is None:
        if assertion is not None:
            raise BadSignature(f"{kind}: has an assertion, but its signer has no decision key in the charter")
        return
    if assertion is None:
        raise BadSignature(f"{kind}: needs an assertion by the decision key that its signer has in the charter")
    verify_assertion(assertion, key, kind, message)


def check_decision(body: Decided, key: DecisionKey | None) -> None:
    """Raises ``BadSignature`` unless ``body`` holds what the issuer's entry in the charter demands (rule 2)."""
    try:
        check_assertion(body.assertion, key, body.type, decision_message(body))
    except BadSignature as refusal:
        raise BadSignature(f"{body.type} of {body.issuer}: {refusal}") from None


def register(attestation_object: bytes, client_data: bytes, nonce: bytes) -> DecisionKey:
    """The key that a security key just made for the page whose challenge was made of ``nonce``.

    Raises ``BadSignature``. Nothing proves the kind of device: an admin who wants one kind hands it out.
    """
    from protocol import webauthn

    webauthn.check_client_data(client_data, "webauthn.create", challenge(REGISTRATION, nonce))
    credential, public_key = webauthn.attested_credential(attestation_object)
    try:
        return DecisionKey(
            credential=base64.b64encode(credential).decode(), public_key=base64.b64encode(public_key).decode()
        )
    except ValueError:
        raise BadSignature("security key: its credential id has fewer than 16 bytes, or more than 1023") from None
