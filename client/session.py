"""HTTP to the hub: a short token, a proof with each request, clear errors, retries where sending twice is safe."""

import ipaddress
import random
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import BytesIO
from typing import BinaryIO, Final, TypeVar
from urllib.parse import urlsplit

import httpx
from pydantic import TypeAdapter, ValidationError

from client.errors import HubRefused, HubUnreachable, HubUntrusted, UsageRefused
from client.keys import Identity
from protocol import problems, routes
from protocol.dpop import NONCE_HEADER
from protocol.problems import Problem
from protocol.signing import Signed
from protocol.token_holder import Credentials, TokenHolder

ATTEMPTS: Final = 5
FIRST_PAUSE_S: Final = 0.5
LONGEST_PAUSE_S: Final = 15.0
MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
JSON_LINES: Final = "application/jsonl"
OCTETS: Final = "application/octet-stream"
RETRIED_STATUS: Final = frozenset({429, 502, 503, 504})

Answer = TypeVar("Answer")


def check_origin(url: str) -> str:
    """The hub's origin, ``https://HOST[:PORT]``; plain http is allowed on loopback only.

    Raises ``UsageRefused`` otherwise, also for a URL with a path, a query or credentials.
    """
    parts = urlsplit(url)
    bare = not parts.username and not parts.query and not parts.fragment and parts.path in ("", "/")
    if not parts.hostname or not bare:
        raise UsageRefused(f"--hub {url!r}: give the hub's origin alone, e.g. https://hub.example")
    if parts.scheme != "https" and not (parts.scheme == "http" and _is_loopback(parts.hostname)):
        raise UsageRefused(f"--hub {url!r}: only https is spoken to another machine; use https://")
    return f"{parts.scheme}://{parts.netloc}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def open_http(url: str, transport: httpx.BaseTransport | None = None) -> httpx.Client:
    """An HTTP client for the hub at ``url``: no redirects, no proxy on loopback, 30 s longer than a long poll."""
    origin = check_origin(url)
    return httpx.Client(
        base_url=origin,
        transport=transport,
        timeout=httpx.Timeout(30.0, read=routes.MAX_WAIT_S + 30.0),
        follow_redirects=False,
        trust_env=origin.startswith("https://"),
    )


@dataclass(frozen=True, slots=True)
class _Request:
    method: str
    path: str
    params: Mapping[str, str] | None = None
    content: Callable[[], bytes] | None = None
    kind: str = ""
    anonymous: bool = False
    limit: int = MAX_ANSWER_BYTES
    into: BinaryIO | None = None


@dataclass(frozen=True, slots=True)
class _Answer:
    """``shown``: the headers by which the request showed who asks."""

    status: int
    body: bytes
    retry_after: str | None
    shown: Mapping[str, str] = field(repr=False)


_TOKEN_REQUEST: Final = _Request("POST", routes.TOKENS, kind="application/x-www-form-urlencoded")


@dataclass(slots=True)
class HubSession:
    """Calls to one hub, as one person or as nobody. Time, pauses and the transport are passed in.

    ``audience`` is what tokens are asked for (``routes.audience`` of the charter's log origin).
    """

    http: httpx.Client
    identity: Identity | None = None
    audience: str = ""
    clock: Callable[[], float] = time.time
    pause: Callable[[float], None] = time.sleep
    _held: TokenHolder | None = field(default=None, repr=False)

    def get(self, path: str, kind: TypeAdapter[Answer], params: Mapping[str, str] | None = None) -> Answer:
        """The parsed answer of a GET. Raises ``HubUntrusted`` if it isn't of the protocol's form."""
        return _parse(kind, self._call(_Request("GET", path, params=params)), path)

    def get_bytes(self, path: str, limit: int = MAX_ANSWER_BYTES) -> bytes:
        """The raw answer of a GET of at most ``limit`` bytes."""
        return self._call(_Request("GET", path, limit=limit))

    def download(self, path: str, into: BinaryIO, limit: int) -> int:
        """A GET of at most ``limit`` bytes, written to a file that was just opened; how many there were."""
        self._call(_Request("GET", path, limit=limit, into=into))
        return into.tell()

    def put_bytes(self, path: str, data: bytes) -> None:
        """A PUT of bytes that are named by their digest: the same again changes nothing."""
        self._call(_Request("PUT", path, content=lambda: data, kind=OCTETS))

    def get_public(self, path: str) -> bytes:
        """The raw answer of a GET that needs no token."""
        return self._call(_Request("GET", path, anonymous=True))

    def post_statements(self, signed: Sequence[Signed]) -> tuple[int, ...]:
        """Log indices of the statements, recorded all or none. Safe to send again: they keep their indices."""
        body = b"".join(one.wire + b"\n" for one in signed)
        request = _Request("POST", routes.STATEMENTS, content=lambda: body, kind=JSON_LINES)
        indices = _parse(TypeAdapter(routes.Recorded), self._call(request), routes.STATEMENTS).indices
        if len(indices) != len(signed):
            raise HubUntrusted(f"the hub answered {len(indices)} log indices for {len(signed)} statements")
        return indices

    def post_charter(self, signed: Signed) -> None:
        """Post the founding charter to a hub that has none: nobody is named yet, so without a token."""
        self._call(
            _Request("POST", routes.CHARTER, content=lambda: signed.wire + b"\n", kind=JSON_LINES, anonymous=True)
        )

    def _call(self, request: _Request) -> bytes:
        """Everything sent here is idempotent, so it may be sent again when no answer came."""
        cured: set[str] = set()
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._exchange(request)
            except httpx.TransportError as error:
                if attempt == ATTEMPTS:
                    raise HubUnreachable(_unreachable(str(self.http.base_url), error)) from None
                self.pause(_backoff(attempt, None))
                continue
            if answer.status < 300:
                return answer.body
            problem = _problem(answer.status, answer.body)
            if answer.status == 401 and answer.shown and self._holder.cures(problem.type, answer.shown, cured):
                continue
            if answer.status not in RETRIED_STATUS or attempt == ATTEMPTS:
                raise HubRefused(problem)
            self.pause(_backoff(attempt, answer.retry_after))
        raise HubUnreachable(_unreachable(str(self.http.base_url), None))

    def _exchange(self, request: _Request) -> _Answer:
        shown, content = self._shown(request)
        headers = {"Content-Type": request.kind} if request.kind else {}
        with self.http.stream(
            request.method, request.path, params=request.params, content=content, headers=headers | shown
        ) as answer:
            if shown:
                self._holder.learn(answer.headers.get(NONCE_HEADER))
            held = BytesIO()
            body = request.into if request.into is not None and answer.is_success else held
            body.seek(0)
            body.truncate()  # an attempt before this one may have been cut short
            for part in answer.iter_bytes():
                if body.tell() + len(part) > request.limit:
                    raise HubUntrusted(f"the answer to {request.path} is longer than the {request.limit} bytes allowed")
                body.write(part)
            return _Answer(answer.status_code, held.getvalue(), answer.headers.get("Retry-After"), shown)

    def _shown(self, request: _Request) -> tuple[dict[str, str], bytes | None]:
        """The headers that show who asks, and the body; both are made anew for every attempt."""
        if request.path == routes.TOKENS:
            form, headers = self._holder.request()
            return headers, str(httpx.QueryParams(form)).encode()
        content = request.content() if request.content else None
        return ({} if request.anonymous else self._holder.headers(request.method, request.path)), content

    @property
    def _holder(self) -> TokenHolder:
        """Raises ``UsageRefused`` for a session as nobody."""
        if self.identity is None:
            raise UsageRefused("this needs a key: give --key me.key, or set CONSORTIA_KEY")
        if self._held is None:
            origin = str(self.http.base_url).rstrip("/")
            given = Credentials(self.identity.party, self.identity.signing, self.audience, origin)
            self._held = TokenHolder(given, self._ask_token, self._now, lambda: secrets.token_hex(16))
        return self._held

    def _ask_token(self) -> routes.TokenAnswer:
        return _parse(TypeAdapter(routes.TokenAnswer), self._call(_TOKEN_REQUEST), routes.TOKENS)

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock(), UTC)


def _parse(kind: TypeAdapter[Answer], answer: bytes, path: str) -> Answer:
    try:
        return kind.validate_json(answer)
    except ValidationError:
        raise HubUntrusted(f"the hub's answer to {path} is not of the protocol's form; another version?") from None


def _problem(status: int, answer: bytes) -> Problem:
    try:
        return Problem.model_validate_json(answer)
    except ValidationError:
        detail = f"it answered status {status} without saying why; ask the hub's operator"
        status = status if 400 <= status <= 599 else 500
        kind = problems.UNAUTHENTICATED if status == 401 else problems.INTERNAL
        return Problem(type=kind, title="No reason given", status=status, detail=detail)


def _backoff(attempt: int, retry_after: str | None) -> float:
    if retry_after and retry_after.isdecimal():
        return min(float(retry_after), LONGEST_PAUSE_S)
    # Spread out, so that all the clients of a restarted hub don't come back at once.
    return min(LONGEST_PAUSE_S, FIRST_PAUSE_S * float(2 ** (attempt - 1))) * random.uniform(0.5, 1.0)  # noqa: S311


def _unreachable(origin: str, error: httpx.TransportError | None) -> str:
    why = f" ({type(error).__name__})" if error else ""
    return f"no answer from {origin} after {ATTEMPTS} attempts{why}; check --hub and the network, then try again"
