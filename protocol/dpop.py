"""DPoP proofs (RFC 9449): with each request its sender shows the key that its access token is bound to.

Ed25519 only (alg EdDSA, RFC 8037). Pure: time, nonces and identifiers are passed in. A proof is read in two steps:
``read_proof`` checks its form and that it is signed by the key in it, ``check_proof`` that it is for this request.
Whether its nonce is the hub's and its identifier new is for the hub to tell.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Final, Literal
from urllib.parse import unquote, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from protocol.errors import BadProof
from protocol.ids import Strict

ALGORITHM: Final = "EdDSA"
TYPE: Final = "dpop+jwt"
SCHEME: Final = "DPoP"
NONCE_HEADER: Final = "DPoP-Nonce"
MAX_PROOF_CHARACTERS: Final = 4096
PROOF_AGE_S: Final = 60
SKEW_S: Final = 30
"""How far a party's clock may be from the hub's."""
_DEFAULT_PORTS: Final = {"https": 443, "http": 80}
NONCE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]{1,256}")
"""RFC 9449, section 8.1: NQCHAR of RFC 6749, appendix A."""

Thumbprint = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]
"""SHA-256 of a key's canonical JWK, in base64url (RFC 7638)."""


class _Jwk(Strict):
    """A public OKP key (RFC 8037, section 2). Any other member is refused, above all the private ``d``."""

    kty: Literal["OKP"]
    crv: Literal["Ed25519"]
    x: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{43}$")]


class _Header(Strict):
    typ: Literal["dpop+jwt"]
    alg: Literal["EdDSA"]
    jwk: _Jwk


class _Claims(Strict):
    """RFC 9449, section 4.2."""

    jti: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")]
    htm: Annotated[str, Field(pattern=r"^[A-Z]{1,16}$")]
    htu: Annotated[str, Field(min_length=1, max_length=2048)]
    iat: int
    ath: Thumbprint | None = None
    nonce: Annotated[str, Field(pattern=f"^{NONCE.pattern}$")] | None = None


@dataclass(frozen=True, slots=True)
class Proof:
    """What a proof says, signed by the key of ``thumbprint``; ``issued_at`` in Unix seconds."""

    thumbprint: str
    identifier: str
    method: str
    url: str
    issued_at: int
    token_hash: str | None
    nonce: str | None

    @property
    def digest(self) -> bytes:
        """32 bytes that name this proof among those of all keys, to remember that it was used."""
        return hashlib.sha256(f"{self.thumbprint}.{self.identifier}".encode()).digest()


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the hub got it: ``origin`` is its own public one, ``path`` without query, both decoded."""

    method: str
    origin: str
    path: str


def thumbprint(public: bytes) -> str:
    """Of an Ed25519 key of 32 bytes: RFC 7638, with the members that RFC 8037, appendix A.3, names: crv, kty, x."""
    x = _base64url(public)
    return _base64url(hashlib.sha256(f'{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}'.encode()).digest())


def token_hash(token: str) -> str:
    """The claim ``ath``: SHA-256 of the access token's ASCII letters (RFC 9449, section 4.2)."""
    return _base64url(hashlib.sha256(token.encode("ascii")).digest())


def make_proof(
    key: Ed25519PrivateKey,
    method: str,
    url: str,
    now: datetime,
    identifier: str,
    token: str | None = None,
    nonce: str | None = None,
) -> str:
    """A proof for one request to ``url`` (query and fragment are left out).

    ``identifier`` (``jti``) must never repeat: 128 random bits. Without ``token``: for a request that asks for one.
    """
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": _base64url(key.public_key().public_bytes_raw())}
    bare = urlsplit(url)._replace(query="", fragment="").geturl()
    claims: dict[str, Any] = {"jti": identifier, "htm": method, "htu": bare, "iat": int(now.timestamp())}
    if token is not None:
        claims["ath"] = token_hash(token)
    if nonce is not None:
        claims["nonce"] = nonce
    return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"typ": TYPE, "jwk": jwk})


def read_proof(text: str) -> Proof:
    """The proof in a ``DPoP`` header (RFC 9449, section 4.3, checks 2 to 7). Raises ``BadProof``."""
    if len(text) > MAX_PROOF_CHARACTERS:
        raise BadProof(f"DPoP proof: it has more than {MAX_PROOF_CHARACTERS} characters")
    try:
        header = _Header.model_validate_json(_decoded(text.partition(".")[0]))
        public = _raw_key(header.jwk.x)
        # Its times are compared by the hub's clock, in check_proof.
        options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
        key = Ed25519PublicKey.from_public_bytes(public)
        claims = _Claims.model_validate(jwt.decode(text, key, algorithms=[ALGORITHM], options=options))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BadProof(f"DPoP proof: {place} is missing, unknown or not of RFC 9449's form; alg is EdDSA") from None
    except (jwt.InvalidTokenError, ValueError):
        raise BadProof("DPoP proof: it is no JWT signed by the key in its header") from None
    return Proof(thumbprint(public), claims.jti, claims.htm, claims.htu, claims.iat, claims.ath, claims.nonce)


def check_proof(proof: Proof, asked: Asked, now: float, token: str | None) -> None:
    """Raises ``BadProof`` unless it is for this request, made about now, for this token (checks 8, 9, 11 and 12)."""
    if proof.method != asked.method:
        raise BadProof(f"DPoP proof: htm is not {asked.method}, the request's method")
    if not _is_for(proof.url, asked):
        raise BadProof(f"DPoP proof: htu is not this request's address; the hub's own origin is {asked.origin}")
    if not now - PROOF_AGE_S - SKEW_S <= proof.issued_at <= now + SKEW_S:
        raise BadProof(f"DPoP proof: iat is more than {SKEW_S} seconds off or a minute old; check the clock")
    expected = None if token is None else token_hash(token)
    if not hmac.compare_digest(proof.token_hash or "", expected or ""):
        raise BadProof("DPoP proof: ath is not the SHA-256 of the access token it came with")


def origin_of(url: str) -> str | None:
    """Scheme and authority of ``url`` in normal form (RFC 3986, sections 6.2.2 and 6.2.3); None where there is none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    shown = "" if port in (None, _DEFAULT_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _is_for(url: str, asked: Asked) -> bool:
    parts = urlsplit(url)
    if parts.query or parts.fragment:
        return False
    # The hub routes by the decoded path, so that is what is compared.
    return origin_of(url) == asked.origin and unquote(parts.path or "/") == asked.path


def _raw_key(x: str) -> bytes:
    raw = _decoded(x)
    if _base64url(raw) != x:  # Two spellings of one key would have two thumbprints.
        raise ValueError("x")
    return raw


def _decoded(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def _base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
