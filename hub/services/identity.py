"""Who calls: private_key_jwt assertions (RFC 7523) in, access tokens out, each used with a DPoP proof (RFC 9449)."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from sqlalchemy import Connection

from hub.errors import InvalidProof, InvalidToken, NonceNeeded
from hub.services.access_tokens import TOKEN_S, AccessToken, AccessTokens
from hub.services.nonces import Nonces
from hub.services.recorder import Clock
from hub.store import silos as silo_store
from hub.store import tokens as token_store
from hub.store.database import Database
from hub.store.log import Reader
from protocol.authority import Role, role_of, scopes_of
from protocol.charter import Charter
from protocol.dpop import SCHEME, SKEW_S, Asked, Proof, check_proof, read_proof, thumbprint
from protocol.errors import BadProof, BadSignature
from protocol.routes import TokenAnswer
from protocol.tokens import read_assertion


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated party, its role under the charter in force, and what its token may be used for."""

    party: str
    role: Role
    scopes: frozenset[str] = frozenset()

    @property
    def name(self) -> str:
        return self.party.partition(":")[2]

    @property
    def reader(self) -> Reader:
        return Reader(self.party, self.role in ("admin", "officer"), self.role == "researcher")


class CharterInForce(Protocol):
    """Where the charter comes from: within a transaction, or as of a second ago at most."""

    def current(self, connection: Connection) -> Charter: ...

    def recent(self) -> Charter: ...


@dataclass(frozen=True, slots=True)
class Identity:
    """`identifier` gives 128 random bits as text."""

    database: Database
    charters: CharterInForce
    tokens: AccessTokens
    nonces: Nonces
    clock: Clock
    identifier: Callable[[], str]

    def token(self, assertion: str, proof: str, asked: Asked) -> TokenAnswer:
        """An access token for a signed assertion, bound to the proof's key. Raises as `caller` does, telling little."""
        shown, period = self._checked(proof, asked, None)
        now = int(self.clock().timestamp())
        with self.database.writing() as connection:
            charter = self.charters.current(connection)
            given = self._granted(connection, assertion, shown, charter, now)
            _use(connection, shown, period)
            silo_store.see(connection, given.party, now)
        token = self.tokens.issue(given, charter.hub_key, now, self.identifier())
        return TokenAnswer(access_token=token, token_type=SCHEME, expires_in=TOKEN_S, scope=given.scope)

    def caller(self, token: str, proof: str, asked: Asked) -> Caller:
        """Who asks. Raises `InvalidToken` when the token has run out or its party's key is out of the charter,
        `InvalidProof` when the proof isn't for this request, `NonceNeeded` when its nonce isn't of these minutes.
        """
        charter = self.charters.recent()
        access = self.tokens.read(token, charter.hub_key, self.clock().timestamp())
        role = _checked_role(access, charter)
        shown, period = self._checked(proof, asked, token)
        if not hmac.compare_digest(shown.thumbprint, access.proof_key):
            raise InvalidToken("token: it is bound to another key than the proof's")
        with self.database.noting() as connection:
            _use(connection, shown, period)
        return Caller(access.party, role, frozenset(access.scope.split()) & scopes_of(role))

    def sweep(self) -> None:
        """Forget the assertions and proofs that can't be shown again."""
        with self.database.noting() as connection:
            token_store.forget(connection, int(self.clock().timestamp()), self.nonces.oldest)

    def _checked(self, text: str, asked: Asked, token: str | None) -> tuple[Proof, int]:
        """The proof, if it is for this request, and the period of its nonce."""
        try:
            proof = read_proof(text)
            check_proof(proof, asked, self.clock().timestamp(), token)
        except BadProof as error:
            raise InvalidProof(str(error)) from None
        period = self.nonces.period_of(proof.nonce or "")
        if period is None:
            raise NonceNeeded("DPoP proof: send it again with the nonce of this answer's DPoP-Nonce")
        return proof, period

    def _granted(self, connection: Connection, assertion: str, proof: Proof, charter: Charter, now: int) -> AccessToken:
        try:
            shown = read_assertion(assertion, charter.signing_key_of, self.tokens.audience, now)
            role = role_of(shown.party, charter)
        except (BadProof, BadSignature) as error:
            raise InvalidToken(str(error)) from None
        if not hmac.compare_digest(shown.thumbprint, proof.thumbprint):
            raise InvalidToken("assertion: cnf names another key than the proof's")
        # Kept as long as the assertion could be shown again.
        if not token_store.use_assertion(connection, shown.party, shown.identifier, shown.ends_at + SKEW_S):
            raise InvalidToken("assertion: its jti was used before; make a new one")
        scope = " ".join(sorted(scopes_of(role)))
        return AccessToken(shown.party, scope, proof.thumbprint, _thumbprint_of(shown.signing_key), now + TOKEN_S)


def _use(connection: Connection, proof: Proof, period: int) -> None:
    """Shown for the first time, at any replica."""
    if not token_store.use_proof(connection, period, proof.digest):
        raise InvalidProof("DPoP proof: its jti was used before; make a new proof for each request")


def _checked_role(access: AccessToken, charter: Charter) -> Role:
    try:
        named, role = charter.signing_key_of(access.party), role_of(access.party, charter)
    except BadSignature as error:
        raise InvalidToken(str(error)) from None
    if not hmac.compare_digest(_thumbprint_of(named), access.identity):
        raise InvalidToken(f"token: charter version {charter.version} names another key for {access.party}")
    return role


def _thumbprint_of(key: str) -> str:
    return thumbprint(bytes.fromhex(key))
