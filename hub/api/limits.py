"""Limits on what anybody may ask, applied before the body is read."""

from collections.abc import Awaitable, Callable

from fastapi import Request

from hub.services.limits import FixedWindow


def limited(window: FixedWindow) -> Callable[[Request], Awaitable[None]]:
    """A dependency that counts the request under its remote address. Raises `TooOften`.

    The address is the connection's; behind a proxy on this machine it is what that proxy says (`hub.__main__`).
    """

    async def count(request: Request) -> None:
        window.check(request.client.host if request.client else "")

    return count
