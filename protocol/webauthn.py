"""What a FIDO2 security key answers through a browser, checked after W3C Web Authentication, level 3.

Of the relying party's steps (sections 7.1 and 7.2) these are here, each check naming the field that it refuses:
client data (type, challenge, origin, crossOrigin), authenticator data (rpIdHash, flags), public key (COSE, RFC 9053)
and signature. Three things are stricter than the specification: a key must be bound to its device, every
CBOR value must be in CTAP2's canonical form, and the origin is one host on this machine, which no login ever uses.
"""

import base64
import hashlib
import hmac
import json
import re
import struct
from typing import Any, Final

from cryptography.exceptions import InvalidSignature
from fido2 import cbor
from fido2.cose import CoseKey
from fido2.webauthn import AuthenticatorData

from protocol.errors import BadSignature

__all__ = [
    "ALGORITHMS",
    "RP_ID",
    "SecurityKeyRefused",
    "attested_credential",
    "check_authenticator_data",
    "check_client_data",
    "check_signature",
    "read_public_key",
]

RP_ID: Final = "consortia-decision.localhost"
"""Names below ``localhost`` are this machine (RFC 6761, 6.3); browsers take them for secure contexts."""
ALGORITHMS: Final = (-7, -8)
"""ES256 and EdDSA (RFC 9053, 2.1 and 2.2), by their COSE numbers."""

_ORIGIN: Final = re.compile(rf"http://{re.escape(RP_ID)}:([1-9][0-9]{{3,4}})")
# By algorithm: the parameters that name type, algorithm and curve, and the bytes of each coordinate.
_KEY_TYPES: Final[dict[int, tuple[dict[int, int], tuple[int, ...]]]] = {
    -7: ({1: 2, 3: -7, -1: 1}, (-2, -3)),
    -8: ({1: 1, 3: -8, -1: 6}, (-2,)),
}
_FLAG = AuthenticatorData.FLAG
_KNOWN_FLAGS: Final = int(_FLAG.UP | _FLAG.UV | _FLAG.BE | _FLAG.BS | _FLAG.AT | _FLAG.ED)
# All that a reader of CBOR bytes from elsewhere may stumble over.
_UNREADABLE: Final = (ValueError, LookupError, TypeError, AttributeError, RecursionError, struct.error)


class SecurityKeyRefused(BadSignature):
    """What a security key, or the browser in front of it, answered is not what was asked."""


def check_client_data(raw: bytes, kind: str, challenge: bytes) -> None:
    """``kind`` is ``webauthn.get`` or ``webauthn.create`` (sections 7.2, steps 10 to 14, and 7.1, steps 7 to 11)."""
    data = _client_data(raw)
    if data.get("type") != kind:
        raise SecurityKeyRefused(f"security key: type must be {kind}")
    expected = base64.urlsafe_b64encode(challenge).rstrip(b"=")
    if not hmac.compare_digest(_text(data, "challenge").encode(), expected):
        raise SecurityKeyRefused("security key: challenge is for another decision")
    origin = _ORIGIN.fullmatch(_text(data, "origin"))
    if origin is None or int(origin[1]) > 65535:
        raise SecurityKeyRefused(f"security key: origin must be http://{RP_ID}:PORT, on this machine")
    if data.get("crossOrigin", False) is not False or "topOrigin" in data:
        raise SecurityKeyRefused("security key: crossOrigin must be false; another page had framed this one")


def check_authenticator_data(raw: bytes) -> None:
    """For an assertion: user present and verified, key bound to its device, this relying party (7.2, steps 15 to 18).

    Sign counts are ignored: a statement's nonce stops replay.
    """
    data = _authenticator_data(raw)
    if data.flags & _FLAG.AT:
        raise SecurityKeyRefused("security key: an assertion holds no new credential")


def attested_credential(raw: bytes) -> tuple[bytes, bytes]:
    """Credential id and COSE public key of an attestation object (7.1, steps 12 to 19).

    The attestation statement is not looked at: none was asked for, and whose key it is says the admin.
    """
    try:
        value = cbor.decode(raw)
        inner = value["authData"] if isinstance(value, dict) else None
        canonical = cbor.encode(value) == raw
    except _UNREADABLE:
        raise SecurityKeyRefused("security key: attestation object is not readable") from None
    if not canonical or not isinstance(inner, bytes):
        raise SecurityKeyRefused("security key: attestation object is not in canonical form")
    held = _authenticator_data(inner).credential_data
    if held is None:
        raise SecurityKeyRefused("security key: attestation object holds no new credential")
    cose = cbor.encode(held.public_key)
    read_public_key(cose)
    return bytes(held.credential_id), cose


def read_public_key(cose: bytes) -> CoseKey:
    """A COSE key for ES256 on P-256 or EdDSA on Ed25519, with no other parameters, in canonical form."""
    try:
        value: Any = cbor.decode(cose)
        canonical = cbor.encode(value) == cose
    except _UNREADABLE:
        raise SecurityKeyRefused("public key of a security key: not a COSE key") from None
    algorithm = value.get(3) if isinstance(value, dict) else None
    if not canonical or not isinstance(algorithm, int) or algorithm not in ALGORITHMS:
        raise SecurityKeyRefused("public key of a security key: must be ES256 or EdDSA, in canonical form")
    names, coordinates = _KEY_TYPES[algorithm]
    if set(value) != {*names, *coordinates} or any(type(value[name]) is not int for name in names):
        raise SecurityKeyRefused("public key of a security key: holds other parameters than its algorithm has")
    right = all(value[name] == wanted for name, wanted in names.items())
    if not right or not all(isinstance(value[one], bytes) and len(value[one]) == 32 for one in coordinates):
        raise SecurityKeyRefused("public key of a security key: must be on P-256 (ES256) or Ed25519 (EdDSA)")
    return CoseKey.parse(value)


def check_signature(cose: bytes, authenticator_data: bytes, client_data: bytes, signature: bytes) -> None:
    """The signature is over authenticator data || SHA-256(client data) (7.2, steps 19 and 20)."""
    try:
        read_public_key(cose).verify(authenticator_data + hashlib.sha256(client_data).digest(), signature)
    except (InvalidSignature, ValueError):
        raise SecurityKeyRefused("security key: signature does not verify with the key in the charter") from None


def _client_data(raw: bytes) -> dict[str, Any]:
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError):
        raise SecurityKeyRefused("security key: client data is not JSON in UTF-8 with each key once") from None
    if not isinstance(value, dict):
        raise SecurityKeyRefused("security key: client data is not an object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a key stands twice")
    return value


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if not isinstance(value, str):
        raise SecurityKeyRefused(f"security key: {name} must be text")
    return value


def _authenticator_data(raw: bytes) -> AuthenticatorData:
    try:
        data = AuthenticatorData(raw)
        canonical = _encoded(data) == raw
    except _UNREADABLE:
        raise SecurityKeyRefused("security key: authenticator data is not readable") from None
    if not canonical:
        raise SecurityKeyRefused("security key: authenticator data is not in canonical form")
    if not hmac.compare_digest(data.rp_id_hash, hashlib.sha256(RP_ID.encode()).digest()):
        raise SecurityKeyRefused(f"security key: rpIdHash is not that of {RP_ID}")
    _check_flags(int(data.flags))
    return data


def _encoded(data: AuthenticatorData) -> bytes:
    """The one encoding of what was read: the reader by itself takes short strings and repeated keys."""
    credential = data.credential_data or b""
    return bytes(AuthenticatorData.create(data.rp_id_hash, data.flags, data.counter, credential, data.extensions))


def _check_flags(flags: int) -> None:
    if flags & ~_KNOWN_FLAGS:
        raise SecurityKeyRefused("security key: a reserved flag is set")
    if not flags & _FLAG.UP:
        raise SecurityKeyRefused("security key: user presence is missing; touch the key")
    if not flags & _FLAG.UV:
        raise SecurityKeyRefused("security key: user verification is missing; set a PIN or fingerprint on the key")
    if flags & (_FLAG.BE | _FLAG.BS):
        raise SecurityKeyRefused("security key: this key may be copied to other devices; take one bound to its device")
