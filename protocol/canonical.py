"""One byte string for one value: canonical JSON (RFC 8785) and SHA-256 digests of it."""

import hashlib
import json
from typing import Any

import rfc8785

from protocol.errors import Malformed

MAX_INTEGER = 2**53 - 1
_ENCODER = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":"), check_circular=False)
MAX_DOCUMENT_BYTES = 4 * 1024 * 1024
"""Longest JSON document the protocol reads, in bytes; larger payloads travel as chunks or blobs."""


def encode(value: Any) -> bytes:
    """Canonical JSON bytes of ``value`` (RFC 8785). Raises ``Malformed`` for what JSON cannot hold."""
    if _plain(value):
        return _ENCODER.encode(value).encode()
    whole = _whole_floats_as_integers(value)
    if _plain(whole):
        return _ENCODER.encode(whole).encode()
    try:
        return rfc8785.dumps(value)
    except (rfc8785.CanonicalizationError, UnicodeError) as error:
        raise Malformed(f"not representable as canonical JSON (RFC 8785): {error}") from None


def decode(data: bytes) -> Any:
    """The value of canonical JSON bytes. Raises ``Malformed`` unless ``encode(decode(data)) == data``.

    Reading back only the canonical form means that a value has one encoding, so a digest names it:
    duplicate keys, other number spellings, spaces and trailing bytes are all refused.
    """
    if len(data) > MAX_DOCUMENT_BYTES:
        raise Malformed(f"document has {len(data)} bytes, at most {MAX_DOCUMENT_BYTES} are read")
    odd: list[str] = []

    def read_float(digits: str) -> float:
        number = float(digits)
        if not _plain_float(number):
            odd.append(digits)
        return number

    def read_int(digits: str) -> int | float:
        """Beyond 2^53 JSON's integers are IEEE doubles (RFC 8785, section 3.2.2.3), as large floats are written."""
        number = int(digits) if len(digits) <= 17 else MAX_INTEGER + 1
        return number if abs(number) <= MAX_INTEGER else read_float(digits)

    try:
        value = json.loads(data.decode(), parse_int=read_int, parse_float=read_float, parse_constant=_refuse_constant)
        # As in ``encode``, known sooner: where a key isn't ASCII, ASCII bytes are no encoding of it anyhow.
        plain = data.isascii() and not odd
        again = _ENCODER.encode(value).encode() if plain else encode(value)
    except (ValueError, RecursionError):
        raise Malformed("document is not JSON in UTF-8") from None
    if again != data:
        raise Malformed("document is JSON but not in canonical form (RFC 8785)")
    return value


def digest(data: bytes) -> str:
    """SHA-256 of ``data`` as 64 lower-case hexadecimal characters."""
    return hashlib.sha256(data).hexdigest()


def _plain(value: Any) -> bool:
    """Whether JSON's standard encoder, told to sort, writes RFC 8785's very bytes: no float that is spelled in another
    way, no key that UTF-16 sorts in another way than Unicode, no string that UTF-8 can't hold, no huge integer."""
    kind = type(value)
    if kind is str:
        return bool(value.isascii())
    if kind is dict:
        return all(type(key) is str and key.isascii() and _plain(one) for key, one in value.items())
    if kind is list:
        return all(map(_plain, value))
    if kind is float:
        return _plain_float(value)
    return value is None or kind is bool or (kind is int and abs(value) <= MAX_INTEGER)


def _whole_floats_as_integers(value: Any) -> Any:
    """ECMAScript has one kind of number: 2.0 is spelled as 2 (and -0.0 as 0)."""
    if type(value) is dict:
        return {key: _whole_floats_as_integers(one) for key, one in value.items()}
    if type(value) is list:
        return [_whole_floats_as_integers(one) for one in value]
    whole = type(value) is float and value.is_integer() and abs(value) <= MAX_INTEGER
    return int(value) if whole else value


def _plain_float(number: float) -> bool:
    """Whether Python and ECMAScript (RFC 8785, 3.2.2.3) spell it alike: the shortest digits, without an exponent."""
    return 1e-4 <= abs(number) < 1e16 and not number.is_integer()


def _refuse_constant(name: str) -> Any:
    raise ValueError(name)
