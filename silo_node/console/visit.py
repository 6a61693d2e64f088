"""A request of somebody who is signed in, and the pages it may be answered with."""

from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import Depends, Request
from fastapi.responses import HTMLResponse

from pages.local_requests import read_form
from pages.rendering import render
from silo_node.console.desk import Desk
from silo_node.console.sessions import Session, Sessions

COOKIE: Final = "consortia-console"


@dataclass(frozen=True, slots=True)
class Site:
    """The one console of a process. ``host`` is what the Host header must be."""

    desk: Desk
    sessions: Sessions
    host: str


@dataclass(frozen=True, slots=True)
class Visit:
    """One request in a session."""

    request: Request
    site: Site
    session: Session

    @property
    def desk(self) -> Desk:
        return self.site.desk

    def path(self, *parts: str) -> str:
        """A path of this session's pages."""
        return "/".join(("", self.session.place, *parts))

    async def form(self) -> dict[str, str]:
        """The fields of a form of this session's pages. Raises ``Turned`` for any other."""
        return await read_form(self.request, self.site.host, self.session.token)

    def page(self, template: str, status: int = 200, **values: Any) -> HTMLResponse:
        runs, doing = self.desk.node()
        frame = {
            "silo": self.desk.silo.name,
            "place": self.path(),
            "token": self.session.token,
            "waiting": self.desk.waiting(),
            "node_runs": runs,
            "node_says": doing,
        }
        return HTMLResponse(render(template, **frame, **values), status)


async def _visit(request: Request, place: str) -> Visit:
    """Raises ``SignedOut``."""
    site: Site = request.app.state.site
    return Visit(request, site, site.sessions.session(place, request.cookies.get(COOKIE, "")))


Visiting = Annotated[Visit, Depends(_visit)]
