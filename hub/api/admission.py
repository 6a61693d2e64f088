"""Who a request is from, and whether that role may call this route: by the one table in `protocol.authority`."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Final
from urllib.parse import urlsplit

from fastapi import APIRouter, Request
from fastapi.routing import APIRoute
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.config.settings import is_loopback
from hub.errors import InvalidProof, OutOfScope, SetupRefused, Unauthenticated
from hub.services.identity import Caller
from hub.services.nonces import Nonces
from hub.services.wiring import Services
from protocol.authority import ROUTES, Access
from protocol.dpop import NONCE_HEADER, SCHEME, Asked, origin_of
from protocol.routes import OPENAPI, TOKENS

_HOW: Final = f"an Authorization header with a {SCHEME} token is needed, and a {SCHEME} proof; get a token at {TOKENS}"


def admission(services: Services) -> Callable[[Request], None]:
    """A dependency of every route: lets in whom the table names, and notes for the route who it is."""

    def admit(request: Request) -> None:
        access = access_of(request.scope["route"])
        if access.is_open:
            return
        asked = asked_of(request, services.settings.public_origin)
        caller = services.identity.caller(_token_of(request), one_header(request, "dpop"), asked)
        if access.scope not in caller.scopes:
            raise OutOfScope(
                f"{caller.party} has the role {caller.role}; this is for the role {_named(access)}", access.scope
            )
        request.state.caller = caller

    return admit


def caller_of(_: Services) -> Callable[[Request], Awaitable[Caller]]:
    """A dependency: the caller that was admitted."""

    async def caller(request: Request) -> Caller:
        admitted: Caller = request.state.caller
        return admitted

    return caller


def access_of(route: APIRoute) -> Access:
    """The row of a route. Raises `SetupRefused` when there is none, or when its methods differ in it."""
    rows = {ROUTES.get((method, route.path)) for method in route.methods or ()} or {None}
    row = rows.pop()
    if row is None or rows:
        raise SetupRefused(f"{route.path}: protocol/authority.py doesn't say who may call it")
    return row


def check_routes(routers: Iterable[APIRouter]) -> None:
    """Raises `SetupRefused` unless table and routes are the same, so that none is open by mistake."""
    found = {("GET", OPENAPI)}
    for router in routers:
        for route in router.routes:
            if not isinstance(route, APIRoute):
                raise SetupRefused(f"{route}: a hub's routes are those that protocol/authority.py can name")
            access_of(route)
            found |= {(method, route.path) for method in route.methods or ()}
    if missing := ROUTES.keys() - found:
        raise SetupRefused(f"protocol/authority.py names routes that the hub doesn't have: {sorted(missing)}")


def asked_of(request: Request, public_origin: str) -> Asked:
    """The request, as its proof must name it. Without a public origin the hub is called on this machine only."""
    origin: str | None = public_origin
    if not public_origin:
        origin = origin_of(f"{request.scope['scheme']}://{request.headers.get('host', '')}")
    if origin is None or not (public_origin or is_loopback(urlsplit(origin).hostname or "")):
        raise InvalidProof("Host: this hub is called by its loopback address; set public_origin for any other")
    return Asked(request.method, origin, request.scope["path"])


def one_header(request: Request, name: str) -> str:
    """Its value. Raises `Unauthenticated` when it is missing or given more than once (RFC 9449, section 4.3)."""
    given = request.headers.getlist(name)
    if len(given) != 1:
        raise Unauthenticated(_HOW)
    return given[0]


def _token_of(request: Request) -> str:
    scheme, _, token = one_header(request, "authorization").partition(" ")
    if scheme.lower() != SCHEME.lower() or not token.isascii():
        raise Unauthenticated(_HOW)
    return token


def _named(access: Access) -> str:
    return ", ".join(sorted(access.roles))


class FreshNonce:
    """ASGI middleware: who sends a proof gets the nonce of the minute with the answer (RFC 9449, section 8.2), so
    that a busy party is never sent back for one.
    """

    def __init__(self, app: ASGIApp, nonces: Nonces) -> None:
        self._app, self._nonces = app, nonces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not any(name == b"dpop" for name, _ in scope["headers"]):
            await self._app(scope, receive, send)
            return

        async def with_nonce(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[NONCE_HEADER] = self._nonces.current()
            await send(message)

        await self._app(scope, receive, with_nonce)
