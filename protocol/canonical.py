"""One byte string for one value: canonical JSON (RFC 8785) and SHA-256 digests of it."""

import hashlib
import json
from typing import Any

import rfc8785

from protocol.errors import Malformed

MAX_INTEGER = 2**53 - 1
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""Longest JSON document the protocol reads, in bytes; larger payloads travel as chunks or blobs."""


def encode(value: Any) -> bytes:
    """Canonical JSON bytes of ``value`` (RFC 8785). Raises ``Malformed`` for what JSON cannot hold."""
    try:
        return rfc8785.dumps(value)
    except rfc8785.CanonicalizationError as error:
        raise Malformed(f"not representable as canonical JSON (RFC 8785): {error}") from None


def decode(data: bytes) -> Any:
    """The value of canonical JSON bytes. Raises ``Malformed`` unless ``encode(decode(data)) == data``.

    Reading back only the canonical form means that a value has one encoding, so a digest names it:
    duplicate keys, other number spellings, spaces and trailing bytes are all refused.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise Malformed(f"document has {len(data)} bytes, at most {MAX_DOCUMENT_BYTES} are read")
    try:
        value = json.loads(data.decode("utf-8"), parse_int=_number, parse_constant=_refuse_constant)
    except (UnicodeDecodeError, ValueError, RecursionError):
        raise Malformed("document is not JSON in UTF-8") from None
    if encode(value) != data:
        raise Malformed("document is JSON but not in canonical form (RFC 8785)")
    return value


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def _number(digits: str) -> int | float:
    """Beyond 2^53 JSON's integers are IEEE doubles (RFC 8785, section 3.2.2.3), as large floats are written."""
    value = int(digits) if len(digits) <= 17 else float(digits)
    return value if abs(value) <= MAX_INTEGER else float(digits)


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
