"""A port of this machine alone, and the name that a browser reaches it by."""

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

TRIES: Final = 20
NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


class PortTaken(ValueError):
    """No port of this machine could be taken; the text says which."""


@dataclass(frozen=True, slots=True)
class Loopback:
    """Listening sockets: 127.0.0.1 and, where the machine has it, ::1. ``name`` is ``localhost`` or a name below it."""

    sockets: tuple[socket.socket, ...]
    name: str

    @property
    def port(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    @property
    def host(self) -> str:
        """What the Host header must be, to the letter."""
        return f"{self.name}:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def bind_loopback(name: str, port: int = 0) -> Loopback:
    """``port``, or a free one, on both loopback addresses: a browser may try either, so neither is left to others.

    Raises ``PortTaken``.
    """
    for _ in range(1 if port else TRIES):
        with suppress(OSError):  # taken; another one then
            return Loopback(_both(port), name)
    if port:
        raise PortTaken(f"port {port} is taken on 127.0.0.1 or ::1; give another one, or close what holds it")
    raise PortTaken(f"no port is free on both 127.0.0.1 and ::1, after {TRIES} tries; close what holds them")


def _both(port: int) -> tuple[socket.socket, ...]:
    """Raises ``OSError`` if the port is taken on one of them."""
    # TCP by name: asyncio sends small answers at once (TCP_NODELAY) only on sockets that say so.
    first = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A port of one's own choice is taken again at once after a restart; one that somebody listens on never is.
        first.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        first.bind(("127.0.0.1", port))
        second = _bind_six(first.getsockname()[1])
    except OSError:
        first.close()
        raise
    both = (first,) if second is None else (first, second)
    for one in both:  # before the link is shown: a browser may be faster than the server
        one.listen()
    return both


def _bind_six(port: int) -> socket.socket | None:
    """None if this machine has no IPv6 loopback. Raises ``OSError`` if the port is taken."""
    if not socket.has_ipv6:
        return None
    one = None
    with suppress(OSError):
        one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    if one is None:
        return None
    try:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        one.bind(("::1", port))
    except OSError as error:
        one.close()
        if error.errno in NO_IPV6:
            return None
        raise
    return one
