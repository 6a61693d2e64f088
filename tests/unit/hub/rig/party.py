"""A party that signs, gets tokens, posts and follows the log, checking all that the hub shows it."""

import base64
import secrets
import time
from collections.abc import Generator
from datetime import UTC, datetime
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter

from protocol import canonical, routes
from protocol.charter import Charter
from protocol.dpop import make_proof, thumbprint
from protocol.ids import timestamp
from protocol.routes import Follow
from protocol.sealing.envelope import generate_keys
from protocol.signing import Signed, parse, sign
from protocol.statements import Body
from protocol.succession import sign_charter
from protocol.translog import LogEntry, LogView, TreeHead, VerifierKey, advance, verify_inclusion

BODY: TypeAdapter[Body] = TypeAdapter(Body)
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"


class Refusal(Exception):
    """The hub's answer to a refused request."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(answer.text)
        self.status = answer.status_code
        self.type = answer.json().get("type", "")
        self.detail = answer.json().get("detail", "")


def check(answer: httpx.Response) -> httpx.Response:
    if answer.status_code >= 400:
        raise Refusal(answer)
    return answer


class ProofAuth(httpx.Auth):
    """Shows a party's token and a new proof with each request; once more where the hub asks for its nonce."""

    def __init__(self, party: "Party") -> None:
        self._party = party

    def auth_flow(self, request: httpx.Request) -> Generator[httpx.Request, httpx.Response, None]:
        for _ in range(2):
            url = str(request.url.copy_with(query=None))
            request.headers.update(self._party.shown(request.method, url))
            if not self._party.learn((yield request)):
                return


class Party:
    """`party` is ``silo:NAME`` or ``person:NAME``."""

    def __init__(self, party: str, url: str, card: dict[str, str]) -> None:
        self.party, self.name = party, party.partition(":")[2]
        self.url, self.card = url, card
        self.key = Ed25519PrivateKey.generate()
        self.envelope = generate_keys()
        self.http = httpx.Client(base_url=url, timeout=60)
        self.view = LogView(card["log_origin"])
        self.log_key = card["log_key"]
        self.next = 0
        self.proof_key = Ed25519PrivateKey.generate()
        self.auth = ProofAuth(self)
        self.nonce: str | None = None
        self._token = ""
        self._expires = 0.0

    @property
    def public(self) -> str:
        return self.key.public_key().public_bytes_raw().hex()

    @property
    def receiving(self) -> str:
        return base64.b64encode(self.envelope.public).decode()

    def body(self, kind: str, **fields: Any) -> Body:
        now = timestamp(datetime.now(UTC))
        value = {
            "type": kind,
            "issuer": self.party,
            "issued_at": now,
            "nonce": secrets.token_hex(16),
            "journal_head": None,
        }
        return BODY.validate_json(canonical.encode({**value, **fields}))

    def signed(self, kind: str, **fields: Any) -> Signed:
        return sign(self.body(kind, **fields), self.key)

    def signs(self, charter: dict[str, Any]) -> dict[str, Any]:
        """The fields of a statement that publishes ``charter`` with this party's signature alone."""
        model = Charter.model_validate_json(canonical.encode(charter))
        signature = sign_charter(model, self.name, self.key)
        return {"charter": charter, "signatures": [signature.model_dump(mode="json")]}

    def assertion(self, **changes: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": self.party,
            "sub": self.party,
            "aud": routes.audience(self.card["log_origin"]),
            "jti": secrets.token_hex(16),
            "iat": now,
            "exp": now + 55,
            "cnf": {"jkt": thumbprint(self.proof_key.public_key().public_bytes_raw())},
        }
        return jwt.encode({**claims, **changes}, self.key, algorithm="EdDSA")

    def proof(self, method: str, url: str, token: str | None = None) -> str:
        now = datetime.now(UTC)
        return make_proof(self.proof_key, method, url, now, secrets.token_hex(16), token, self.nonce)

    def ask_token(self, assertion: str) -> httpx.Response:
        """With a proof by this party's proof key; once more where the hub asks for its nonce."""
        form = {
            "grant_type": "client_credentials",
            "client_assertion_type": ASSERTION_TYPE,
            "client_assertion": assertion,
        }
        url = str(self.http.base_url).rstrip("/") + routes.TOKENS
        answer = self.http.post(routes.TOKENS, data=form, headers={"DPoP": self.proof("POST", url)})
        if self.learn(answer):
            answer = self.http.post(routes.TOKENS, data=form, headers={"DPoP": self.proof("POST", url)})
        return answer

    def learn(self, answer: httpx.Response) -> bool:
        """Keep the answer's nonce; whether the request should be made again with it."""
        self.nonce = answer.headers.get("DPoP-Nonce", self.nonce)
        return answer.status_code == 401 and "use_dpop_nonce" in answer.headers.get("WWW-Authenticate", "")

    @property
    def token(self) -> str:
        if time.time() > self._expires - 30:
            answer = check(self.ask_token(self.assertion())).json()
            self._token, self._expires = answer["access_token"], time.time() + answer["expires_in"]
        return self._token

    def forget_token(self) -> None:
        self._expires = 0.0

    def shown(self, method: str, url: str) -> dict[str, str]:
        """The headers of one request to ``url``, which serve once."""
        token = self.token
        return {"Authorization": f"DPoP {token}", "DPoP": self.proof(method, url, token)}

    def post(self, *statements: Signed) -> list[int]:
        body = b"".join(statement.wire + b"\n" for statement in statements)
        return check(self.http.post(routes.STATEMENTS, content=body, auth=self.auth)).json()["indices"]

    def say(self, kind: str, **fields: Any) -> list[int]:
        return self.post(self.signed(kind, **fields))

    def get(self, path: str, **params: Any) -> httpx.Response:
        return check(self.http.get(path, params=params, auth=self.auth))

    def poll(self, wait_s: float = 0.0) -> list[tuple[int, LogEntry, Signed]]:
        """New entries that concern this party; the log's growth and every entry's place are verified."""
        answer = self.get(routes.POLL, after=self.next, wait_s=wait_s)
        follow = Follow.model_validate_json(answer.content)
        shown = [parse(logged.statement.encode()).body for logged in follow.entries if logged.statement]
        self.log_key = ([body.charter.log_key for body in shown if body.type == "charter"] or [self.log_key])[-1]
        verifier = VerifierKey.from_hex(self.card["log_origin"], self.log_key)
        if self.next == self.view.size:
            proof = [bytes.fromhex(node) for node in follow.consistency]
            self.view = advance(self.view, follow.checkpoint, proof, verifier)
        found = []
        for logged in follow.entries:
            entry = LogEntry.model_validate_json(logged.leaf)
            proof = [bytes.fromhex(node) for node in logged.proof]
            verify_inclusion(entry.leaf_hash(), logged.index, TreeHead(self.view.size, self.view.root), proof)
            assert canonical.digest(logged.statement.encode()) == entry.digest
            found.append((logged.index, entry, parse(logged.statement.encode())))
        self.next = follow.next
        return found
