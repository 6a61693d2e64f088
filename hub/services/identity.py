"""Who calls: private_key_jwt assertions (RFC 7523) in, access tokens of five minutes out, all EdDSA."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.errors import Unauthenticated
from hub.services.charters import Charters
from hub.services.recorder import Clock
from hub.store import silos as silo_store
from hub.store.database import Database
from hub.store.log import Reader
from protocol.charter import Charter
from protocol.errors import BadSignature
from protocol.routes import TokenAnswer

TOKEN_S = 300
MAX_ASSERTION_S = 60
SKEW_S = 30
MAX_KNOWN_TOKENS = 10_000
ALGORITHMS = ["EdDSA"]
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
Role = Literal["silo", "admin", "researcher", "officer"]


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated party and its role under the charter in force."""

    party: str
    role: Role

    @property
    def name(self) -> str:
        return self.party.partition(":")[2]

    @property
    def reader(self) -> Reader:
        return Reader(self.party, self.role in ("admin", "officer"), self.role == "researcher")


@dataclass(frozen=True, slots=True)
class Identity:
    """`origin` is the log's origin, the tokens' issuer; `audience` is that of assertions and tokens alike."""

    database: Database
    charters: Charters
    key: Ed25519PrivateKey = field(repr=False)
    origin: str
    audience: str
    clock: Clock
    nonce: Callable[[], str]
    _known: dict[str, tuple[str, int]] = field(default_factory=dict, repr=False)

    def token(self, assertion: str) -> TokenAnswer:
        """An access token for a signed assertion. Raises `Unauthenticated`, telling little."""
        now = int(self.clock().timestamp())
        with self.database.writing() as connection:
            claims = self._assertion(assertion, self.charters.current(connection), now)
            # Kept as long as the assertion could be shown again.
            if not silo_store.use_assertion(connection, claims["sub"], claims["jti"], claims["exp"] + SKEW_S, now):
                raise Unauthenticated("assertion: its jti was used before; make a new one")
            silo_store.see(connection, claims["sub"], now)
            role = role_of(self.charters.current(connection), claims["sub"])
        payload = {"iss": self.origin, "aud": self.audience, "sub": claims["sub"], "role": role, "jti": self.nonce()}
        payload |= {"iat": now, "exp": now + TOKEN_S}
        token = jwt.encode(payload, self.key, algorithm="EdDSA", headers={"typ": "at+jwt"})
        return TokenAnswer(access_token=token, token_type="Bearer", expires_in=TOKEN_S)  # noqa: S106

    def caller(self, token: str) -> Caller:
        """Whose token it is. Raises `Unauthenticated` when it has run out, or its party is out of the charter."""
        party, expires = self._known.get(token) or self._read(token)
        if expires <= self.clock().timestamp():
            self._known.pop(token, None)
            raise Unauthenticated("token: it has expired; ask for a new one")
        return Caller(party, role_of(self.charters.recent(), party))

    def _read(self, token: str) -> tuple[str, int]:
        """Party and expiry of a token that verifies; kept, since a party calls many times with one."""
        claims = self._decode(token, self.key.public_key(), "token", "at+jwt")
        if claims["iss"] != self.origin:
            raise Unauthenticated("token: it is not this hub's")
        if len(self._known) >= MAX_KNOWN_TOKENS:
            self._known.clear()
        self._known[token] = (claims["sub"], claims["exp"])
        return self._known[token]

    def _assertion(self, assertion: str, charter: Charter, now: int) -> dict[str, Any]:
        try:
            party = jwt.decode(assertion, options={"verify_signature": False}, algorithms=ALGORITHMS).get("sub")
            key = charter.signing_key_of(party) if isinstance(party, str) and party != "hub" else None
        except (jwt.InvalidTokenError, BadSignature):
            key = None
        if key is None:
            raise Unauthenticated("assertion: its subject is not named in the charter, or it is no JWT")
        public = Ed25519PublicKey.from_public_bytes(bytes.fromhex(key))
        claims = self._decode(assertion, public, "assertion", None)
        if claims["iss"] != claims["sub"] or not 1 <= len(str(claims["jti"])) <= 64:
            raise Unauthenticated("assertion: iss and sub must be the same party, jti 1 to 64 characters")
        if claims["exp"] > now + MAX_ASSERTION_S + SKEW_S:
            raise Unauthenticated(f"assertion: exp may be {MAX_ASSERTION_S} seconds ahead at most; check the clock")
        return claims

    def _decode(self, token: str, key: Ed25519PublicKey, what: str, kind: str | None) -> dict[str, Any]:
        now = self.clock().timestamp()
        try:
            if kind is not None and jwt.get_unverified_header(token).get("typ") != kind:
                raise Unauthenticated(f"{what}: it is of another type")
            claims: dict[str, Any] = jwt.decode(
                token,
                key,
                algorithms=ALGORITHMS,
                audience=self.audience,
                options={"require": ["exp", "iss", "sub", "aud", "jti"], "verify_exp": False, "verify_iat": False},
            )
        except jwt.InvalidTokenError as error:
            raise Unauthenticated(f"{what} refused: {type(error).__name__}") from None
        # By the hub's own clock, which is passed in; an assertion's writer may have another.
        expires = claims["exp"]
        if not isinstance(expires, int) or expires + (SKEW_S if kind is None else 0) <= now:
            raise Unauthenticated(f"{what}: it has expired; ask for a new one")
        return claims


def role_of(charter: Charter, party: str) -> Role:
    """The role of a party under the charter; raises `Unauthenticated` for one it doesn't name."""
    kind, _, name = party.partition(":")
    try:
        if kind == "silo":
            charter.member(name)
            return "silo"
        return charter.person(name).role
    except BadSignature:
        raise Unauthenticated(f"{party} is not named in charter version {charter.version}") from None
