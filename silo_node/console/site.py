"""The console as a web application: who is let in, what every answer carries, and what a refusal looks like.

FastAPI, which the hub runs on too. No page has a script: a browser that runs none loses nothing, and the policy of the
pages allows none.
"""

import secrets
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Final

import structlog
from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, RedirectResponse, Response
from starlette.exceptions import HTTPException

from pages.local_requests import HEADERS, Turned, check_host
from pages.rendering import render
from protocol.errors import ProtocolError
from silo_node.console import record_pages, request_pages
from silo_node.console.sessions import LinkRefused, SignedOut
from silo_node.console.visit import COOKIE, Site, Visiting
from silo_node.errors import SiloError

Next = Callable[[Request], Awaitable[Response]]
STATIC: Final = ("style.css", "console.css")
SAFE: Final = {
    **HEADERS,
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}

log = structlog.get_logger()
door = APIRouter()


def console_site(site: Site) -> FastAPI:
    app = FastAPI(title="Consortia silo console", docs_url=None, redoc_url=None, openapi_url=None)
    app.state.site = site
    for router in (door, request_pages.router, record_pages.router):
        app.include_router(router)
    app.middleware("http")(_guarded)
    app.exception_handler(SignedOut)(_signed_out)
    app.exception_handler(Turned)(_turned)
    app.exception_handler(HTTPException)(_nothing_here)
    app.exception_handler(RequestValidationError)(_nothing_here)
    app.exception_handler(SiloError)(_stopped)
    app.exception_handler(ProtocolError)(_stopped)
    return app


@door.get("/")
async def outside() -> HTMLResponse:
    raise SignedOut("Your silo's console. You are signed out.")


@door.get("/static/{name}")
async def static(name: str) -> Response:
    if name not in STATIC:
        raise Turned(404, "Nothing is here.")
    content = files("pages").joinpath("static", name).read_bytes()
    return Response(content, media_type="text/css", headers={"Cache-Control": "private, max-age=900"})


@door.get("/in/{link}")
async def enter(request: Request, link: str) -> HTMLResponse:
    """Exchanges a link for a session at once. A page, not a redirect: a browser that was sent here by another
    program would not bring the new cookie along on one (SameSite=Strict)."""
    if "sec-purpose" in request.headers:  # a browser that looks ahead must not spend it
        raise Turned(503, "The link is for opening only.")
    site: Site = request.app.state.site
    try:
        session = site.sessions.enter(link)
    except LinkRefused as refusal:
        raise SignedOut(str(refusal)) from None
    page = HTMLResponse(render("console/welcome.html", there=f"/{session.place}/"))
    page.set_cookie(COOKIE, session.cookie, path=f"/{session.place}/", httponly=True, samesite="strict")
    return page


@door.post("/{place}/out")
async def leave(visit: Visiting) -> Response:
    await visit.form()
    visit.site.sessions.leave(visit.session)
    gone = RedirectResponse("/", 303)
    gone.delete_cookie(COOKIE, path=f"/{visit.session.place}/", httponly=True, samesite="strict")
    return gone


async def _guarded(request: Request, proceed: Next) -> Response:
    try:
        check_host(request, request.app.state.site.host)
        response = await proceed(request)
    except Turned as turned:
        response = await _turned(request, turned)
    except Exception as problem:  # noqa: BLE001  # no message of an unknown error is shown: it may hold data
        incident = secrets.token_hex(4)
        log.error("console-failed", incident=incident, kind=type(problem).__name__)
        text = f"The console failed; nothing was decided. Incident {incident}: its kind is in the terminal."
        response = _plain(500, "It failed", text)
    response.headers.update({name: value for name, value in SAFE.items() if name not in response.headers})
    return response


async def _signed_out(request: Request, problem: Exception) -> Response:
    text = str(problem) if request.method == "GET" else f"{problem} Nothing was decided."
    return HTMLResponse(render("console/signed_out.html", text=text), 401)


async def _turned(request: Request, turned: Exception) -> Response:
    return _plain(turned.status if isinstance(turned, Turned) else 400, "Not here", str(turned))


async def _nothing_here(request: Request, problem: Exception) -> Response:
    status = problem.status_code if isinstance(problem, HTTPException) else 422
    return _plain(status, "Not here", "Nothing is here.")


async def _stopped(request: Request, problem: Exception) -> Response:
    """What a silo stops at has a text that is safe to show."""
    return _plain(503, "Stopped", f"{problem} Nothing was decided.")


def _plain(status: int, title: str, text: str) -> HTMLResponse:
    return HTMLResponse(render("console/plain.html", title=title, text=text), status)
