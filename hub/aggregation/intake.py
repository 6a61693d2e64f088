"""Taking in chunks and bundles of shares: exact size, digest, the one place. What they hold is not looked at here."""

import base64
import hashlib
import hmac
import re

from hub.domain.round import Round
from hub.errors import BadRequest, Conflict, Forbidden, TooLarge
from protocol.rounds import round_layout
from protocol.sealing.parameters import CIPHERTEXTS_PER_CHUNK, MAX_TERMS, TERM_CIPHERTEXT_BYTES
from protocol.sealing.sharing import bundle_bytes
from protocol.study import StudyContract

MAX_CHUNK_BYTES = CIPHERTEXTS_PER_CHUNK * TERM_CIPHERTEXT_BYTES
MAX_BUNDLE_BYTES = bundle_bytes(MAX_TERMS)
_CONTENT_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):")


def check_place(round: Round | None, index: int, attempt: int, silo: str) -> Round:
    """The round, if it takes chunks of `silo` now. Raises `Conflict` or `Forbidden`."""
    if round is None or (round.index, round.attempt) != (index, attempt):
        raise Conflict(f"round {index} attempt {attempt} isn't under way; ask for the study's state")
    if silo not in round.frozen and round.state != "open":
        raise Forbidden(f"silo {silo} is not among those whose terms round {index} attempt {attempt} adds")
    if round.state != "frozen":
        raise Conflict(f"round {index} attempt {attempt} is {round.state}; chunks are taken while it is frozen")
    if silo in round.dropped:
        raise Conflict(f"a chunk of silo {silo} couldn't be added; it joins the next round")
    return round


def check_content(contract: StudyContract, round: Round, position: int, content: bytes, header: str | None) -> str:
    """The chunk's SHA-256 in hex. Raises `BadRequest` or `TooLarge`, naming the bound that is missed."""
    layout = round_layout(contract, round.index, len(round.frozen))
    if not 0 <= position < layout.chunks:
        raise BadRequest(f"chunk {position}: this round has chunks 0 to {layout.chunks - 1}")
    size = layout.upload_chunk_bytes(position)
    return _check_bytes(f"chunk {position}", content, size, header)


def check_dealer(round: Round | None, index: int, attempt: int, silo: str) -> Round:
    """The round, if it may take a bundle of shares of `silo`. Raises `Conflict` or `Forbidden`."""
    if round is None or (round.index, round.attempt) != (index, attempt):
        raise Conflict(f"round {index} attempt {attempt} isn't under way; ask for the study's state")
    if silo not in round.silos:
        raise Forbidden(f"silo {silo} is not among those that round {index} attempt {attempt} was opened for")
    if round.state != "open" and silo not in round.dealt:
        raise Conflict(f"round {index} attempt {attempt} is {round.state}; shares are taken while it is open")
    return round


def check_bundle(holders: int, content: bytes, header: str | None) -> str:
    """The SHA-256 in hex of a bundle of shares for `holders` silos. Raises `BadRequest` or `TooLarge`."""
    return _check_bytes("the bundle of shares", content, bundle_bytes(holders), header)


def _check_bytes(what: str, content: bytes, size: int, header: str | None) -> str:
    if len(content) > size:
        raise TooLarge(f"{what} has more than the {size} bytes it must have")
    if len(content) != size:
        raise BadRequest(f"{what} has {len(content)} bytes, it must have {size}; send it again")
    match = _CONTENT_DIGEST.fullmatch(header or "")
    if match is None:
        raise BadRequest("Content-Digest: a header sha-256=:BASE64: (RFC 9530) is needed")
    found = hashlib.sha256(content).digest()
    if not hmac.compare_digest(base64.b64decode(match[1]), found):
        raise BadRequest(f"{what}: Content-Digest is not that of the bytes that arrived; send it again")
    return found.hex()
