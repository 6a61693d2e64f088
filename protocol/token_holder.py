"""A party's access token and the DPoP key it is bound to, for as long as a process lives: in memory only.

The key is not the party's identity key, which signs statements and, once in four minutes, an assertion. Pure but for
its lock: the request for a token, time and identifiers are passed in. Threads share one holder.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol import problems
from protocol.dpop import NONCE, SCHEME, make_proof, thumbprint
from protocol.routes import TOKENS, TokenAnswer
from protocol.tokens import client_assertion, token_request

RENEW_AFTER: Final = 0.8
"""The part of a token's life after which it is renewed, so that none ends on its way."""
CURABLE: Final = frozenset({problems.USE_DPOP_NONCE, problems.UNAUTHENTICATED})
"""Refusals with status 401 after which the same request may succeed: with the hub's nonce, with a new token."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, and whom: ``audience`` names the hub (``protocol.routes.audience``), ``origin`` is its address."""

    party: str
    identity: Ed25519PrivateKey = field(repr=False)
    audience: str
    origin: str


@dataclass(frozen=True, slots=True)
class _Grant:
    token: str = field(repr=False)
    renew_at: datetime
    ends_at: datetime


@dataclass(slots=True)
class TokenHolder:
    """``ask`` sends what ``request`` gives to ``POST /v1/tokens``, again if need be, and gives the hub's answer.

    ``identifier`` gives 128 random bits in letters, never the same twice; ``clock`` the time with a zone.
    """

    credentials: Credentials
    ask: Callable[[], TokenAnswer]
    clock: Callable[[], datetime]
    identifier: Callable[[], str]
    _key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate, repr=False)
    _nonce: str | None = field(default=None, repr=False)
    _grant: _Grant | None = field(default=None, repr=False)
    _renewing: threading.Lock = field(default_factory=threading.Lock, repr=False)

    def headers(self, method: str, path: str) -> dict[str, str]:
        """``Authorization`` and ``DPoP`` for one request; asks for a token first where there is none fresh."""
        token = self._token()
        return {"Authorization": f"{SCHEME} {token}", "DPoP": self._proof(method, path, token)}

    def request(self) -> tuple[dict[str, str], dict[str, str]]:
        """Form and headers of a token request, made anew for every attempt: the hub takes each identifier once."""
        given, bound = self.credentials, thumbprint(self._key.public_key().public_bytes_raw())
        assertion = client_assertion(
            given.party, given.identity, given.audience, bound, self.clock(), self.identifier()
        )
        return token_request(assertion), {"DPoP": self._proof("POST", TOKENS, None)}

    def learn(self, nonce: str | None) -> None:
        """Take the nonce of an answer's ``DPoP-Nonce``, if it has one, for the proofs to come."""
        if nonce is not None and NONCE.fullmatch(nonce):
            self._nonce = nonce

    def cures(self, refusal: str, headers: Mapping[str, str], cured: set[str]) -> bool:
        """Whether a request refused with status 401 may be sent again: for each reason once, kept in ``cured``.

        ``refusal`` is the problem's type, ``headers`` what the request carried. A refused token is forgotten, unless
        another one came since.
        """
        if refusal not in CURABLE or refusal in cured:
            return False
        cured.add(refusal)
        grant = self._grant
        refused = grant is not None and headers.get("Authorization") == f"{SCHEME} {grant.token}"
        if refusal == problems.UNAUTHENTICATED and refused:
            self._grant = None
        return True

    def _token(self) -> str:
        """Renewed by one thread, while the others go on with the older one as long as it lasts."""
        grant, now = self._grant, self.clock()
        if grant is not None and now < grant.renew_at:
            return grant.token
        if grant is not None and now < grant.ends_at and self._renewing.locked():
            return grant.token
        with self._renewing:
            if self._grant is None or self._grant is grant:
                self._grant = self._renewed()
            return self._grant.token

    def _renewed(self) -> _Grant:
        answer, now = self.ask(), self.clock()
        life = timedelta(seconds=answer.expires_in)
        return _Grant(answer.access_token, now + RENEW_AFTER * life, now + life)

    def _proof(self, method: str, path: str, token: str | None) -> str:
        url = self.credentials.origin + path
        return make_proof(self._key, method, url, self.clock(), self.identifier(), token, self._nonce)
