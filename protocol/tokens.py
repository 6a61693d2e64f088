"""How a party asks the hub for an access token: private_key_jwt (RFC 7523, section 3), EdDSA (RFC 8037)."""

from datetime import datetime, timedelta

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ALGORITHM = "EdDSA"
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_LIFETIME = timedelta(seconds=60)
ACCESS_LIFETIME = timedelta(minutes=5)


def client_assertion(party: str, key: Ed25519PrivateKey, audience: str, now: datetime, identifier: str) -> str:
    """A JWT that proves for 60 seconds, once, that its bearer holds ``party``'s identity key.

    ``identifier`` (``jti``) must never repeat: 128 random bits.
    """
    claims = {
        "iss": party,
        "sub": party,
        "aud": audience,
        "iat": now,
        "exp": now + ASSERTION_LIFETIME,
        "jti": identifier,
    }
    return jwt.encode(claims, key, algorithm=ALGORITHM)


def token_request(assertion: str) -> dict[str, str]:
    """The form of a token request (RFC 6749, section 4.4, with RFC 7523, section 2.2)."""
    return {
        "grant_type": "client_credentials",
        "client_assertion_type": ASSERTION_TYPE,
        "client_assertion": assertion,
    }
