"""What every page that is served on this machine asks of a request: the page's own name, and forms of its own.

A request is answered only if its Host is the page's own to the letter (else a name of an attacker's that resolves to
127.0.0.1 would reach it), a form only if Origin and Sec-Fetch-Site say that this page sent it, and it brings the page's
token.
"""

import hmac
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


def same(given: str, secret: str) -> bool:
    """Whether both are one text, in a time that tells nothing of ``secret``."""
    return hmac.compare_digest(given.encode("utf-8", "surrogateescape"), secret.encode())


def check_host(request: Request, host: str) -> None:
    hosts = request.headers.getlist("host")
    if len(hosts) != 1 or not hmac.compare_digest(hosts[0].encode("latin-1"), host.encode()):
        raise Turned(403, "This page is reached by its own name only: open the link that the command shows.")


async def read_form(request: Request, host: str, token: str) -> dict[str, str]:
    """The fields of a form that this page sent. Raises ``Turned`` for any other."""
    site = request.headers.get("sec-fetch-site", "same-origin")
    if request.headers.get("origin") != f"http://{host}" or site != "same-origin":
        raise Turned(403, "Another page sent this. Nothing was decided.")
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/x-www-form-urlencoded":
        raise Turned(415, "A form is needed. Nothing was decided.")
    fields = _fields(await _body(request))
    if not same(fields.pop("token", ""), token):
        raise Turned(403, "The form is not this page's. Nothing was decided.")
    return fields


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
