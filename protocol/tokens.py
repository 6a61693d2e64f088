"""How a party asks the hub for an access token: private_key_jwt (RFC 7523, section 3), EdDSA (RFC 8037).

The assertion names the DPoP key that the token is to be bound to (``cnf``, RFC 7800): whoever takes an assertion on
its way can't have a token for a key of their own. Pure: time and identifiers are passed in.
"""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import Field, ValidationError

from protocol.dpop import ALGORITHM, SKEW_S, Thumbprint
from protocol.errors import BadProof, BadSignature
from protocol.ids import PartyId, Strict

ASSERTION_TYPE: Final = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME: Final = timedelta(seconds=60)
ACCESS_LIFETIME: Final = timedelta(minutes=5)


class _Confirmation(Strict):
    jkt: Thumbprint


class _Claims(Strict):
    iss: PartyId
    sub: PartyId
    aud: Annotated[str, Field(max_length=200)]
    iat: int
    exp: int
    jti: Annotated[str, Field(min_length=1, max_length=64)]
    cnf: _Confirmation


@dataclass(frozen=True, slots=True)
class Assertion:
    """A party's signed word that a DPoP key is its own. ``ends_at`` in Unix seconds."""

    party: str
    signing_key: str
    identifier: str
    thumbprint: str
    ends_at: int


def client_assertion(
    party: str, key: Ed25519PrivateKey, audience: str, thumbprint: str, now: datetime, identifier: str
) -> str:
    """A JWT that proves for 60 seconds, once, that its bearer holds ``party``'s identity key.

    ``thumbprint`` is that of the DPoP key (``protocol.dpop.thumbprint``). ``identifier`` (``jti``) must never repeat:
    128 random bits.
    """
    issued = int(now.timestamp())
    claims = {
        "iss": party,
        "sub": party,
        "aud": audience,
        "iat": issued,
        "exp": issued + int(ASSERTION_LIFETIME.total_seconds()),
        "jti": identifier,
        "cnf": {"jkt": thumbprint},
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def token_request(assertion: str) -> dict[str, str]:
    """The form of a token request (RFC 6749, section 4.4, with RFC 7523, section 2.2)."""
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }


def read_assertion(text: str, key_of: Callable[[str], str], audience: str, now: float) -> Assertion:
    """An assertion that holds at ``now`` (Unix seconds). Raises ``BadProof``.

    ``key_of`` gives a party's Ed25519 key in hex, or raises ``BadSignature``. Whether its identifier was used
    before is for the hub to tell.
    """
    key = _key_named(text, key_of)
    try:
        # Its times are compared below, by the hub's clock: its writer may have another.
        options: Any = {"verify_exp": False, "verify_iat": False, "verify_nbf": False, "verify_aud": False}
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        claims = _Claims.model_validate(jwt.decode(text, public, algorithms=[ALGORITHM], options=options))
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise BadProof(f"assertion: {place} is missing, unknown or not of the protocol's form") from None
    except jwt.InvalidTokenError:
        raise BadProof("assertion: it is not signed by the key that the charter names") from None
    _check_claims(claims, audience, now)
    return Assertion(claims.sub, key, claims.jti, claims.cnf.jkt, claims.exp)


def _key_named(text: str, key_of: Callable[[str], str]) -> str:
    try:
        party = jwt.decode(text, options={"verify_signature": False}).get("sub")
        if isinstance(party, str) and party != "hub":
            return key_of(party)
    except (jwt.InvalidTokenError, BadSignature):
        pass
    raise BadProof("assertion: its subject is not named in the charter, or it is no JWT")


def _check_claims(claims: _Claims, audience: str, now: float) -> None:
    longest = ASSERTION_LIFETIME.total_seconds()
    if claims.iss != claims.sub:
        raise BadProof("assertion: iss and sub must be the same party")
    if not hmac.compare_digest(claims.aud.encode(), audience.encode()):
        raise BadProof("assertion: aud is another hub's")
    if claims.exp + SKEW_S <= now or claims.iat > now + SKEW_S:
        raise BadProof("assertion: it has expired, or is from the future; make a new one, and check the clock")
    if not 0 < claims.exp - claims.iat <= longest or claims.exp > now + longest + SKEW_S:
        raise BadProof(f"assertion: exp may be {longest:.0f} seconds ahead at most; check the clock")
