"""RFC 3161 timestamps of what a quorum cosigned: a third party's clock says that the log stood so by then.

A token covers the SHA-256 of the note's *text*, which cosignatures that come later don't change. It is verified
against the authority's root certificates before it is kept, and is never needed for trusting the log: it lets an
auditor date it without trusting the consortium's clocks.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import httpx
from cryptography.x509 import Certificate, load_pem_x509_certificates
from rfc3161_client import (
    HashAlgorithm,
    TimeStampRequest,
    TimestampRequestBuilder,
    VerificationError,
    Verifier,
    VerifierBuilder,
    decode_timestamp_response,
)

from hub.errors import NotFound, SetupRefused
from hub.store import candidates as candidate_store
from hub.store.candidates import Candidate
from hub.store.database import Database
from protocol.signed_note import split_note

TIMEOUT_S = 15.0
MAX_ANSWER_BYTES = 256 * 1024
QUERY_TYPE = "application/timestamp-query"


class TimestampFailed(Exception):
    """An authority that gave no timestamp which verifies; says why, in a sentence for the operator."""


@dataclass(frozen=True, slots=True)
class Timestamps:
    """`ask` sends a request (DER) to the authority and gives its answer; `roots` are whom its answers lead to."""

    database: Database
    ask: Callable[[bytes], bytes]
    roots: tuple[Certificate, ...]

    def stamp(self) -> bool:
        """Have the newest quorate candidate timestamped, unless it is. Raises `TimestampFailed`."""
        with self.database.reading() as connection:
            held = candidate_store.newest_quorate(connection)
        if held is None or held.token is not None:
            return False
        token = self._token(split_note(held.note)[0].encode())
        with self.database.writing() as connection:
            candidate_store.write_token(connection, held.number, token)
        return True

    def _token(self, text: bytes) -> bytes:
        request = TimestampRequestBuilder().data(text).hash_algorithm(HashAlgorithm.SHA256).nonce(nonce=True).build()
        answer = self.ask(request.as_bytes())
        try:
            response = decode_timestamp_response(answer)
            self._verifier(request).verify(response, hashlib.sha256(text).digest())
            return response.time_stamp_token()
        except (VerificationError, ValueError) as problem:
            raise TimestampFailed(f"its answer doesn't verify: {problem}") from None

    def _verifier(self, request: TimeStampRequest) -> Verifier:
        """Of answers to this request: its nonce, and a chain to one of the roots."""
        builder = VerifierBuilder.from_request(request)
        for root in self.roots:
            builder = builder.add_root_certificate(root)
        return builder.build()


def newest_timestamp(database: Database) -> Candidate:
    """The newest candidate that has a token. Raises `NotFound` before there is one."""
    with database.reading() as connection:
        found = candidate_store.newest_stamped(connection)
    if found is None:
        raise NotFound("no checkpoint has a timestamp yet: the hub has no authority to ask, or no answer of it")
    return found


def read_roots(path: Path) -> tuple[Certificate, ...]:
    """The authority's root certificates in a PEM file. Raises `SetupRefused`."""
    try:
        return tuple(load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError):
        raise SetupRefused(f"timestamp_ca: {path} holds no certificates (PEM)") from None


def over_http(http: httpx.Client, url: str) -> Callable[[bytes], bytes]:
    """Asks as RFC 3161, section 3.4, says. What comes back raises `TimestampFailed`, or is an answer to verify."""

    def ask(request: bytes) -> bytes:
        try:
            with http.stream(
                "POST", url, content=request, headers={"Content-Type": QUERY_TYPE}, timeout=TIMEOUT_S
            ) as answer:
                body = bytearray()
                for part in answer.iter_bytes():
                    body += part
                    if len(body) > MAX_ANSWER_BYTES:
                        raise TimestampFailed(f"its answer has more than {MAX_ANSWER_BYTES} bytes")
        except httpx.HTTPError as error:
            raise TimestampFailed(f"it doesn't answer ({type(error).__name__})") from None
        if not answer.is_success:
            raise TimestampFailed(f"it answered {answer.status_code}")
        return bytes(body)

    return ask
