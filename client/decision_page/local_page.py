"""One page served on this machine, to one browser, until it is answered once.

Starlette and Uvicorn, which the hub runs on too, rather than the standard library's ``http.server``: that one's own
documentation advises against it where security matters. Nothing is logged: paths hold a secret.
"""

import asyncio
import subprocess
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import wraps
from html import escape
from importlib.resources import files
from pathlib import Path
from threading import Thread
from typing import Final, Generic

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from client.decision_page.conversation import Conversation, Done, Place, Unclear, Value
from client.decision_page.guard import Guard
from client.errors import NotDecided, UsageRefused
from pages.local_requests import HEADERS, Turned
from pages.local_server import quiet_server
from pages.loopback import Loopback, PortTaken, bind_loopback
from pages.rendering import render
from protocol.webauthn import RP_ID

STATIC: Final = {"style.css": "text/css", "decision.css": "text/css", "decision.js": "text/javascript"}
CONNECTIONS: Final = 32
Endpoint = Callable[[Request], Awaitable[Response]]


def open_in_browser(address: str) -> None:
    """Open the user's browser in a process of its own: what it prints doesn't mix with the command's output."""
    command, quiet = (sys.executable, "-I", "-m", "webbrowser", address), subprocess.DEVNULL
    subprocess.run(command, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True, check=False)


@dataclass(frozen=True, slots=True)
class Setting:
    """Where the link is said, what opens it, and how long the page waits for its answer, in seconds."""

    say: Callable[[str], None]
    open_link: Callable[[str], None] | None = open_in_browser
    timeout_s: float = 15 * 60


@dataclass(slots=True)
class LocalPage(Generic[Value]):
    """The routes of one page. ``done`` is set by the first answer that is taken, and by no other."""

    conversation: Conversation[Value]
    guard: Guard
    done: Done[Value] | None = None
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    def app(self) -> Starlette:
        routes = [
            Route("/static/{name}", self._guarded(self._static)),
            Route("/{link}", self._guarded(self._link)),
            Route("/{session}/", self._guarded(self._page)),
            Route("/{session}/challenge", self._guarded(self._challenge), methods=["POST"]),
            Route("/{session}/answer", self._guarded(self._answer), methods=["POST"]),
        ]
        return Starlette(routes=routes, exception_handlers={404: _nothing, 405: _nothing})

    @property
    def place(self) -> Place:
        return Place(f"/{self.guard.session}", self.guard.token)

    def _guarded(self, endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def answer(request: Request) -> Response:
            try:
                self.guard.check_host(request)
                response = await endpoint(request)
            except Turned as turned:
                response = _turned(turned)
            response.headers.update({**HEADERS, **response.headers})
            return response

        return answer

    async def _static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise Turned(404, "Nothing is here.")
        content = files("pages").joinpath("static", name).read_bytes()
        # The last page needs its style when the server has ended already.
        return Response(content, media_type=STATIC[name], headers={"cache-control": "private, max-age=900"})

    async def _link(self, request: Request) -> Response:
        self.guard.use_link(request.path_params["link"], request)
        return RedirectResponse(f"{self.place.path}/", 303)

    async def _page(self, request: Request) -> Response:
        self._open(request)
        return HTMLResponse(self.conversation.page(self.place, "", {}))

    async def _challenge(self, request: Request) -> Response:
        self._open(request)
        fields = await self.guard.form(request)
        try:
            return JSONResponse(dict(self.conversation.challenge(fields)))
        except Unclear as unclear:
            return JSONResponse({"trouble": str(unclear)}, 422)

    async def _answer(self, request: Request) -> Response:
        self._open(request)
        fields = await self.guard.form(request)
        self._open(request)  # another answer may have come while this one was read
        try:
            done = self.conversation.answer(fields)
        except Unclear as unclear:
            return HTMLResponse(self.conversation.page(self.place, str(unclear), fields), 422)
        self.done = done
        self.answered.set()
        return HTMLResponse(done.html, headers={"connection": "close"})

    def _open(self, request: Request) -> None:
        self.guard.check_session(request.path_params["session"])
        if self.done is not None:
            raise Turned(403, "This page was answered already; what was answered first counts.")


def serve(conversation: Conversation[Value], setting: Setting) -> Value:
    """Show the page and wait for its one answer. Raises ``NotDecided`` when the time is over."""
    try:
        loopback = bind_loopback(RP_ID)
    except PortTaken as problem:
        raise UsageRefused(str(problem)) from None
    try:
        page = LocalPage(conversation, Guard(loopback.host))
        link = f"{loopback.origin}/{page.guard.link}"
        with _private_link(link, setting.open_link is not None) as opener:
            setting.say(link)
            if setting.open_link is not None and opener is not None:
                # Not in this thread: some browsers return when they are left, and need the server before.
                Thread(target=setting.open_link, args=(opener.as_uri(),), daemon=True).start()
            return asyncio.run(_serve(page, loopback, setting.timeout_s))
    finally:
        loopback.close()


async def _serve(page: LocalPage[Value], loopback: Loopback, timeout_s: float) -> Value:
    server = uvicorn.Server(quiet_server(page.app(), CONNECTIONS))
    running = asyncio.create_task(server.serve(list(loopback.sockets)))
    waiting = asyncio.create_task(page.answered.wait())
    await asyncio.wait({running, waiting}, timeout=timeout_s, return_when=asyncio.FIRST_COMPLETED)
    waiting.cancel()
    server.should_exit = True
    await running
    if page.done is None:
        raise NotDecided(
            f"nothing was decided: the page was not answered within {timeout_s / 60:g} minutes; start again"
        )
    return page.done.value


@contextmanager
def _private_link(link: str, wanted: bool) -> Iterator[Path | None]:
    """A file that only this user can read and that leads to the link.

    A browser is started with an address among its arguments, which every user of the machine can list.
    """
    if not wanted:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="consortia-") as folder:  # made with mode 0700
        file = Path(folder) / "open.html"
        file.touch(0o600)
        there = escape(link, quote=True)
        file.write_text(
            f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Consortia</title>'
            f'<meta http-equiv="refresh" content="0; url={there}"><p><a href="{there}">Go on</a></p></html>'
        )
        yield file


def _turned(turned: Turned) -> Response:
    return HTMLResponse(render("turned.html", text=turned.text), turned.status)


async def _nothing(request: Request, error: Exception) -> Response:
    response = _turned(Turned(404, "Nothing is here. Open the link that the command shows."))
    response.headers.update({**HEADERS})
    return response
