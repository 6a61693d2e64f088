"""Who may speak to the local page: the browser that was given its link, and no page of another origin.

A request is answered only if its Host is the page's own to the letter (else a name of an attacker's that resolves to
127.0.0.1 would reach it), a form only if Origin and Sec-Fetch-Site say that this page sent it, and it brings the page's
token. The link works once; it leads to a second secret, which stays in the path. There is no cookie: cookies of
a host go to all its ports, so to a server of another user of this machine.
"""

import hmac
import secrets
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl

from starlette.requests import Request

MAX_FORM_BYTES: Final = 32 * 1024
MAX_FIELDS: Final = 16

HEADERS: Final = {
    "Cache-Control": "no-store",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "publickey-credentials-create=(self), publickey-credentials-get=(self)",
    # Not no-referrer: a form would then be sent with "Origin: null".
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; form-action 'self'; "
        "frame-ancestors 'none'; base-uri 'none'"
    ),
}


class Turned(Exception):
    """A request that is turned away; the text is for the person at the browser, and holds no secret."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(text)
        self.status = status
        self.text = text


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
        hosts = request.headers.getlist("host")
        if len(hosts) != 1 or not hmac.compare_digest(hosts[0].encode("latin-1"), self.host.encode()):
            raise Turned(403, "This page is reached by its own name only: open the link that the command shows.")

    def use_link(self, secret: str, request: Request) -> None:
        """Raises ``Turned`` unless ``secret`` is the link's, for the first time."""
        if not _same(secret, self.link):
            raise Turned(404, "Nothing is here. Open the link that the command shows.")
        if "sec-purpose" in request.headers:  # a browser that looks ahead must not spend it
            raise Turned(503, "The link is for opening only.")
        if self.link_used:
            raise Turned(
                403, "This link was opened before. If not by you, stop the command with Ctrl-C; start it again."
            )
        self.link_used = True

    def check_session(self, secret: str) -> None:
        if not _same(secret, self.session):
            raise Turned(404, "Nothing is here. Open the link that the command shows.")

    async def form(self, request: Request) -> dict[str, str]:
        """The fields of a form that this page sent. Raises ``Turned`` for any other."""
        site = request.headers.get("sec-fetch-site", "same-origin")
        if request.headers.get("origin") != f"http://{self.host}" or site != "same-origin":
            raise Turned(403, "Another page sent this. Nothing was decided.")
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise Turned(415, "A form is needed. Nothing was decided.")
        fields = _fields(await _body(request))
        if not _same(fields.pop("token", ""), self.token):
            raise Turned(403, "The form is not this page's. Nothing was decided.")
        return fields


def _same(given: str, secret: str) -> bool:
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


async def _body(request: Request) -> bytes:
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > MAX_FORM_BYTES:
            raise Turned(413, f"The form has more than {MAX_FORM_BYTES} bytes. Nothing was decided.")
    return body


def _fields(body: bytes) -> dict[str, str]:
    try:
        pairs = parse_qsl(
            body.decode("ascii"),
            keep_blank_values=True,
            strict_parsing=True,
            max_num_fields=MAX_FIELDS,
            errors="strict",
        )
    except ValueError:
        raise Turned(400, "The form can't be read. Nothing was decided.") from None
    if len(dict(pairs)) != len(pairs):
        raise Turned(400, "The form has a field twice. Nothing was decided.")
    return dict(pairs)
