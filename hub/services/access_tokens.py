"""Access tokens: JWTs of five minutes (RFC 9068), signed with the hub's key, bound to a DPoP key (RFC 9449, section 6).

Opaque to who carries them. Beside the usual claims one has `identity`, the party's key that it was given for: once
the charter names another key for the party, or no longer the party, it counts for nothing.
"""

import hmac
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import ValidationError

from hub.errors import Conflict, InvalidToken
from protocol.dpop import ALGORITHM, Thumbprint, thumbprint
from protocol.ids import PartyId, Strict
from protocol.tokens import ACCESS_LIFETIME

TOKEN_S: Final = int(ACCESS_LIFETIME.total_seconds())
TYPE: Final = "at+jwt"
MAX_KNOWN: Final = 10_000


class _Confirmation(Strict):
    jkt: Thumbprint


class _Claims(Strict):
    iss: str
    aud: str
    sub: PartyId
    client_id: PartyId
    scope: str
    cnf: _Confirmation
    identity: Thumbprint
    jti: str
    iat: int
    exp: int


@dataclass(frozen=True, slots=True)
class AccessToken:
    """`proof_key` and `identity` are thumbprints (RFC 7638), `signer` the hub's; `ends_at` is in Unix seconds."""

    party: str
    scope: str
    proof_key: str
    identity: str
    ends_at: int
    signer: str = ""


@dataclass(slots=True)
class AccessTokens:
    """`keys` gives all of this hub's own; one is named (hex) that should be among them. The one that the charter names
    signs; the others verify what they signed before the charter named it: for the life of a token after this process
    first saw the key in force.
    """

    keys: Callable[[str], Sequence[Ed25519PrivateKey]] = field(repr=False)
    issuer: str
    audience: str
    _in_force: str = ""
    _since: int = 0
    _known: dict[str, AccessToken] = field(default_factory=dict, repr=False)

    def issue(self, given: AccessToken, hub_key: str, now: int, identifier: str) -> str:
        """A token signed with `hub_key`, the charter's. Raises `Conflict` when this hub doesn't hold that key."""
        self._note(hub_key, now)
        for key in self.keys(hub_key):
            public = key.public_key().public_bytes_raw()
            if public.hex() == hub_key:
                claims = self._claims(given, now, identifier)
                return jwt.encode(claims, key, ALGORITHM, {"typ": TYPE, "kid": thumbprint(public)})
        raise Conflict("the charter names a hub key that this hub doesn't hold; its operator puts it into keys/")

    def read(self, token: str, hub_key: str, now: float) -> AccessToken:
        """A token that holds at `now`, under a charter with `hub_key`. Raises `InvalidToken`."""
        self._note(hub_key, int(now))
        access = self._known.get(token) or self._read(token, hub_key)
        if access.ends_at <= now:
            self._known.pop(token, None)
            raise InvalidToken("token: it has expired; ask for a new one")
        in_force = thumbprint(bytes.fromhex(hub_key))
        if not hmac.compare_digest(access.signer, in_force) and now >= self._since + TOKEN_S:
            raise InvalidToken("token: the hub's key was changed since; ask for a new one")
        return access

    def _claims(self, given: AccessToken, now: int, identifier: str) -> dict[str, Any]:
        return {
            "iss": self.issuer,
            "aud": self.audience,
            "sub": given.party,
            "client_id": given.party,
            "scope": given.scope,
            "cnf": {"jkt": given.proof_key},
            "identity": given.identity,
            "jti": identifier,
            "iat": now,
            "exp": given.ends_at,
        }

    def _note(self, hub_key: str, now: int) -> None:
        if self._in_force != hub_key:
            self._in_force, self._since = hub_key, now

    def _read(self, token: str, hub_key: str) -> AccessToken:
        """What a token says that one of the hub's keys signed; kept, since a party calls many times with one."""
        try:
            header = jwt.get_unverified_header(token)
            key = self._own(str(header.get("kid")), hub_key)
            if header.get("typ") != TYPE or key is None:
                raise InvalidToken("token: it is not an access token of this hub")
            # Its end is compared by the hub's clock, which is passed in.
            options: Any = {"verify_exp": False, "verify_iat": False}
            given = jwt.decode(token, key, [ALGORITHM], options=options, audience=self.audience, issuer=self.issuer)
            claims = _Claims.model_validate(given)
        except (jwt.InvalidTokenError, ValidationError) as error:
            raise InvalidToken(f"token refused: {type(error).__name__}") from None
        access = AccessToken(
            claims.sub, claims.scope, claims.cnf.jkt, claims.identity, claims.exp, thumbprint(key.public_bytes_raw())
        )
        if len(self._known) >= MAX_KNOWN:
            self._known.clear()
        self._known[token] = access
        return access

    def _own(self, kid: str, hub_key: str) -> Ed25519PublicKey | None:
        for key in self.keys(hub_key):
            public = key.public_key()
            if hmac.compare_digest(thumbprint(public.public_bytes_raw()).encode(), kid.encode()):
                return public
        return None
