"""Who may speak to the decision page: the browser that was given its link, and no page of another origin.

The link works once; it leads to a second secret, which stays in the path. There is no cookie: cookies of
a host go to all its ports, so to a server of another user of this machine.
"""

import secrets
from dataclasses import dataclass, field

from starlette.requests import Request

from pages.local_requests import Turned, check_host, read_form, same


def _secret() -> str:
    return secrets.token_urlsafe(32)


@dataclass(slots=True)
class Guard:
    """The secrets of one page, served once. ``host`` is what the Host header must be."""

    host: str
    link: str = field(default_factory=_secret, repr=False)
    session: str = field(default_factory=_secret, repr=False)
    token: str = field(default_factory=_secret, repr=False)
    link_used: bool = False

    def check_host(self, request: Request) -> None:
        check_host(request, self.host)

    def use_link(self, secret: str, request: Request) -> None:
        """Raises ``Turned`` unless ``secret`` is the link's, for the first time."""
        if not same(secret, self.link):
            raise Turned(404, "Nothing is here. Open the link that the command shows.")
        if "sec-purpose" in request.headers:  # a browser that looks ahead must not spend it
            raise Turned(503, "The link is for opening only.")
        if self.link_used:
            raise Turned(
                403, "This link was opened before. If not by you, stop the command with Ctrl-C; start it again."
            )
        self.link_used = True

    def check_session(self, secret: str) -> None:
        if not same(secret, self.session):
            raise Turned(404, "Nothing is here. Open the link that the command shows.")

    async def form(self, request: Request) -> dict[str, str]:
        """The fields of a form that this page sent. Raises ``Turned`` for any other."""
        return await read_form(request, self.host, self.token)
