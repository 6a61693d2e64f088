"""The silo's only way out: HTTPS calls to its hub. It sends what it is given and checks nothing but transport."""

import base64
import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import BaseModel, TypeAdapter, ValidationError

from protocol import routes
from protocol.dpop import NONCE_HEADER
from protocol.ids import Hex32
from protocol.problems import UNAUTHENTICATED, USE_DPOP_NONCE, Problem
from protocol.signing import Signed
from protocol.token_holder import Credentials, TokenHolder
from silo_node.errors import ConfigRefused, HubDistrusted, HubRefused, HubUnreachable
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.retry import Backoff, retrying

LINES = "application/jsonl"
OCTETS = "application/octet-stream"
NOTE = "text/plain; charset=utf-8"
_MOST_PROBLEM_BYTES = 1 << 16
"""A refusal may be longer than the bytes that were asked for."""

M = TypeVar("M", bound=BaseModel)


class HubSession:
    """Calls as one silo. Every call may raise ``HubUnreachable`` (try later) or ``HubRefused`` (final).

    ``audience`` names the hub in token assertions (``protocol.routes.audience``); the hub's answers are not
    trusted by virtue of the connection: what matters in them is signed, and checked by the caller.
    """

    def __init__(self, url: str, identity: Identity, audience: str, timeout_s: float, backoff: Backoff) -> None:
        self._http = httpx.Client(base_url=checked_url(url), timeout=timeout_s, follow_redirects=False)
        self._identity, self._backoff, self._timeout_s = identity, backoff, timeout_s
        shown = Credentials(identity.party, identity.signing, audience, checked_url(url))
        self._holder = TokenHolder(shown, self._ask_token, _now, lambda: secrets.token_hex(16))

    def close(self) -> None:
        self._http.close()

    def poll(self, after: int, wait_s: int, candidate: str = "") -> routes.Follow:
        """What the log has for this silo from index ``after`` on; the hub may hold the call up to ``wait_s``.

        ``candidate`` is the note held of the checkpoint that is being witnessed: another one ends the wait.
        """
        query = {
            "after": str(after),
            "wait_s": str(wait_s),
            "candidate": hashlib.sha256(candidate.encode()).hexdigest(),
        }
        answer = self._call("GET", routes.POLL, params=query, timeout=wait_s + self._timeout_s)
        return _parsed(routes.Follow, answer)

    def consistency(self, first: int, second: int) -> tuple[str, ...]:
        """The proof (hashes in hex) that the log of ``second`` leaves extends the one of ``first``."""
        if first >= second:
            return ()
        query = {"first": str(first), "second": str(second)}
        answer = self._call("GET", routes.LOG_CONSISTENCY, params=query)
        try:
            return TypeAdapter(tuple[Hex32, ...]).validate_json(answer.content)
        except ValidationError:
            raise HubDistrusted("the hub's consistency proof is not in the protocol's form") from None

    def post(self, statements: Sequence[Signed]) -> tuple[int, ...]:
        """Records ``statements``, all or none; returns their log indices. Sent again they stay as they are."""
        body = b"".join(signed.wire + b"\n" for signed in statements)
        answer = self._call("POST", routes.STATEMENTS, content=body, headers={"Content-Type": LINES})
        return _parsed(routes.Recorded, answer).indices

    def budgets(self) -> tuple[routes.BudgetStatus, ...]:
        """The hub's mirror of this silo's domains."""
        answer = self._call("GET", routes.BUDGETS)
        try:
            return TypeAdapter(tuple[routes.BudgetStatus, ...]).validate_json(answer.content)
        except ValidationError:
            raise HubDistrusted("the hub's budgets are not in the protocol's form") from None

    def post_cosignature(self, line: str) -> None:
        """This silo's cosignature of the candidate; the same line again changes nothing."""
        self._call("POST", routes.LOG_COSIGNATURES, content=line.encode(), headers={"Content-Type": NOTE})

    def put_chunk(self, study: str, index: int, attempt: int, chunk: int, data: bytes) -> None:
        """One chunk of this silo's sealed term; idempotent."""
        path = routes.CHUNK.format(study=study, round=index, attempt=attempt, index=chunk)
        self._call("PUT", path, content=data, headers=_content(data))

    def received_chunks(self, study: str, index: int, attempt: int) -> tuple[str | None, ...]:
        """At each chunk's position the SHA-256 of this silo's chunk that the hub says it holds, None for none."""
        answer = self._call("GET", routes.CHUNKS.format(study=study, round=index, attempt=attempt))
        return _parsed(routes.ReceivedChunks, answer).digests

    def get_sum(self, study: str, index: int, attempt: int, chunk: int, limit: int) -> bytes:
        """One chunk of a sum, at most ``limit`` bytes."""
        path = routes.SUM.format(study=study, round=index, attempt=attempt, index=chunk)
        data = self._call("GET", path, most=max(limit, _MOST_PROBLEM_BYTES)).content
        if len(data) > limit:
            raise HubDistrusted(f"a chunk of the sum of round {index} has {len(data)} bytes, {limit} are right")
        return data

    def put_shares(self, study: str, index: int, attempt: int, bundle: bytes) -> None:
        """This silo's bundle of mask shares for an attempt; idempotent."""
        path = routes.SHARES.format(study=study, round=index, attempt=attempt, silo=self._identity.silo)
        self._call("PUT", path, content=bundle, headers=_content(bundle))

    def get_shares(self, study: str, index: int, attempt: int, silo: str, limit: int) -> bytes:
        """Another silo's bundle, at most ``limit`` bytes."""
        path = routes.SHARES.format(study=study, round=index, attempt=attempt, silo=silo)
        data = self._call("GET", path, most=max(limit, _MOST_PROBLEM_BYTES)).content
        if len(data) > limit:
            raise HubDistrusted(f"the shares of {silo} in round {index} have {len(data)} bytes, {limit} are right")
        return data

    def put_blob(self, study: str, data: bytes) -> str:
        """A sealed release; returns its SHA-256, by which it is named."""
        digest = hashlib.sha256(data).hexdigest()
        self._call("PUT", routes.BLOB.format(study=study, digest=digest), content=data, headers=_content(data))
        return digest

    def put_job_blob(self, data: bytes) -> str:
        """Sealed outputs of a job; returns their SHA-256, by which they are named."""
        digest = hashlib.sha256(data).hexdigest()
        self._call("PUT", routes.JOB_BLOB.format(digest=digest), content=data, headers=_content(data))
        return digest

    def get_job_blob(self, digest: str, limit: int) -> bytes:
        """A sealed bundle that a job names, at most ``limit`` bytes."""
        data = self._call("GET", routes.JOB_BLOB.format(digest=digest), most=max(limit, _MOST_PROBLEM_BYTES)).content
        if len(data) > limit:
            raise HubDistrusted(f"the blob of a job has {len(data)} bytes, {limit} were signed for")
        return data

    def _call(self, method: str, path: str, **request: Any) -> httpx.Response:
        return retrying(lambda: self._once(method, path, request), self._backoff)

    def _once(self, method: str, path: str, request: dict[str, Any]) -> httpx.Response:
        """Sent again where the hub asks for its nonce, or for a new token: for each reason once."""
        cured: set[str] = set()
        while True:
            proven = self._holder.headers(method, path)
            response = send(self._http, method, path, **{**request, "headers": request.get("headers", {}) | proven})
            self._holder.learn(response.headers.get(NONCE_HEADER))
            if not self._holder.cures(refusal_of(response), proven, cured):
                return checked(response)

    def _ask_token(self) -> routes.TokenAnswer:
        """With the key in use, else with another one of this silo: the charter may have changed since it was read."""
        refused: httpx.Response | None = None
        for key in self._identity.signing_keys():
            self._holder.credentials = replace(self._holder.credentials, identity=key)
            answer = self._answer_to_request()
            if refusal_of(answer) != UNAUTHENTICATED:
                return _parsed(routes.TokenAnswer, checked(answer))
            refused = refused or answer
        return _parsed(routes.TokenAnswer, checked(refused or self._answer_to_request()))

    def _answer_to_request(self) -> httpx.Response:
        for _ in range(2):
            form, headers = self._holder.request()
            response = send(self._http, "POST", routes.TOKENS, data=form, headers=headers)
            self._holder.learn(response.headers.get(NONCE_HEADER))
            if refusal_of(response) != USE_DPOP_NONCE:
                break
        return response


def fetch_charter(url: str, timeout_s: float) -> list[bytes]:
    """The charter statements as the hub shows them, oldest first; nothing is verified here."""
    with httpx.Client(base_url=checked_url(url), timeout=timeout_s) as http:
        return checked(send(http, "GET", routes.CHARTER)).content.splitlines()


def enrol(url: str, code: str, signed: Signed, timeout_s: float) -> None:
    """Asks for membership with an invitation's code, which is sent once and stored nowhere."""
    request = routes.EnrolmentRequest(code=code, statement=signed.wire.decode())
    with httpx.Client(base_url=checked_url(url), timeout=timeout_s) as http:
        checked(send(http, "POST", routes.ENROLMENTS, json=request.model_dump(mode="json")))


def checked_url(url: str) -> str:
    """``url`` if it is https, or http to this machine itself. Raises ``ConfigRefused`` otherwise."""
    scheme = urlsplit(url).scheme
    if scheme == "https" or (scheme == "http" and is_this_machine(url)):
        return url.rstrip("/")
    raise ConfigRefused(f"hub address {url}: must be https://, or http:// to this machine itself")


def is_this_machine(url: str) -> bool:
    return urlsplit(url).hostname in ("127.0.0.1", "::1", "localhost")


def send(http: httpx.Client, method: str, path: str, most: int | None = None, **request: Any) -> httpx.Response:
    """The hub's answer; of one with more than ``most`` bytes no more is read. Raises ``HubDistrusted`` then."""
    try:
        if most is None:
            return http.request(method, path, **request)
        with http.stream(method, path, **request) as response:
            return _bounded(response, most)
    except httpx.TransportError as error:
        raise HubUnreachable(f"the hub at {http.base_url} does not answer ({type(error).__name__})") from None


def _bounded(response: httpx.Response, most: int) -> httpx.Response:
    body = bytearray()
    for part in response.iter_bytes():
        body += part
        if len(body) > most:
            raise HubDistrusted(f"the hub's answer to {response.request.url.path} has more than {most} bytes")
    # What was decoded on the way is not to be decoded again.
    kept = {name: response.headers[name] for name in (NONCE_HEADER,) if name in response.headers}
    return httpx.Response(response.status_code, headers=kept, content=bytes(body), request=response.request)


def refusal_of(response: httpx.Response) -> str:
    """The problem's type of an answer with status 401, else nothing."""
    if response.status_code != httpx.codes.UNAUTHORIZED:
        return ""
    try:
        return Problem.model_validate_json(response.content).type
    except ValidationError:
        return UNAUTHENTICATED


def checked(response: httpx.Response) -> httpx.Response:
    """``response`` if it is a success; else ``HubUnreachable`` for passing faults, ``HubRefused`` for a refusal."""
    if response.is_success:
        return response
    try:
        problem = Problem.model_validate_json(response.content)
        text = f"{problem.title}: {problem.detail}" + (f" (incident {problem.incident})" if problem.incident else "")
    except ValidationError:
        text = "no reason was given"
    if response.status_code in (429, 502, 503, 504) or response.status_code >= 500:
        raise HubUnreachable(f"the hub answered {response.status_code}: {text}")
    raise HubRefused(f"the hub answered {response.status_code}: {text}", response.status_code)


def _parsed(kind: type[M], response: httpx.Response) -> M:
    try:
        return kind.model_validate_json(response.content)
    except ValidationError:
        raise HubDistrusted(f"the hub's answer to {response.request.url.path} is not in the protocol's form") from None


def _now() -> datetime:
    return datetime.now(UTC)


def _content(data: bytes) -> dict[str, str]:
    digest = base64.b64encode(hashlib.sha256(data).digest()).decode()
    return {"Content-Type": OCTETS, "Content-Digest": f"sha-256=:{digest}:"}
