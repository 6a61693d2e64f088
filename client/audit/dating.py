"""When a third party's clock saw the log: the RFC 3161 timestamp that an export may carry.

It covers the SHA-256 of the text of the checkpoint that witnesses cosigned. That it is of this text is always checked;
that it was made by an authority, and which one, only with that authority's root certificates, which the officer has
to choose. Nothing else rests on it.
"""

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import TimeStampResponse, VerificationError, VerifierBuilder, decode_timestamp_response

from client.errors import AuditFailed, UsageRefused
from protocol.export import Header
from protocol.signed_note import split_note

# A TimeStampResp (RFC 3161, 2.4.2) is SEQUENCE { PKIStatusInfo, token }; of it the hub keeps the token.
_GRANTED = bytes.fromhex("3003020100")


@dataclass(frozen=True, slots=True)
class Dated:
    """The time in the token, and whether the given roots vouch for it."""

    at: datetime
    trusted: bool


def read_roots(path: Path) -> tuple[Certificate, ...]:
    """An authority's root certificates in a PEM file. Raises ``UsageRefused``."""
    try:
        return tuple(load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError):
        raise UsageRefused(f"--timestamp-ca: {path} holds no certificates (PEM)") from None


def read_timestamp(header: Header, roots: Sequence[Certificate] = ()) -> Dated | None:
    """When the header's token says that its ``witnessed`` checkpoint was there; None if it has none.

    Raises ``AuditFailed`` for a token of something else, or one that leads to none of the ``roots``, if there are any.
    """
    if not header.timestamp:
        return None
    digest = hashlib.sha256(split_note(header.witnessed)[0].encode()).digest()
    try:
        response = _response(base64.b64decode(header.timestamp, validate=True))
        if response.tst_info.message_imprint.message != digest:
            raise AuditFailed("the timestamp is not of the checkpoint that witnesses cosigned")
        if roots:
            _verify(response, digest, roots)
        return Dated(response.tst_info.gen_time, bool(roots))
    except (VerificationError, ValueError) as problem:
        raise AuditFailed(f"the timestamp doesn't verify: {problem}") from None


def _verify(response: TimeStampResponse, digest: bytes, roots: Sequence[Certificate]) -> None:
    builder = VerifierBuilder()
    for root in roots:
        builder = builder.add_root_certificate(root)
    builder.build().verify(response, digest)


def _response(token: bytes) -> TimeStampResponse:
    content = _GRANTED + token
    length = len(content)
    size = length.to_bytes((length.bit_length() + 7) // 8)
    head = bytes([0x30, length]) if length < 0x80 else bytes([0x30, 0x80 | len(size)]) + size
    return decode_timestamp_response(head + content)
