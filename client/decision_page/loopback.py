"""A port of this machine alone, and the name that a browser reaches it by."""

import errno
import socket
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from client.errors import UsageRefused
from protocol.webauthn import RP_ID

TRIES: Final = 20
NO_IPV6: Final = frozenset({errno.EAFNOSUPPORT, errno.EADDRNOTAVAIL, errno.EPROTONOSUPPORT})


@dataclass(frozen=True, slots=True)
class Loopback:
    """Listening sockets: 127.0.0.1 and, where the machine has it, ::1."""

    sockets: tuple[socket.socket, ...]

    @property
    def port(self) -> int:
        return int(self.sockets[0].getsockname()[1])

    @property
    def host(self) -> str:
        """What the Host header must be, to the letter."""
        return f"{RP_ID}:{self.port}"

    @property
    def origin(self) -> str:
        return f"http://{self.host}"

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def bind_loopback() -> Loopback:
    """A free port on both loopback addresses: a browser may try either, so neither may be left to another user."""
    for _ in range(TRIES):
        first = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        first.bind(("127.0.0.1", 0))
        try:
            second = _bind_six(first.getsockname()[1])
        except OSError:  # taken there; another port then
            first.close()
            continue
        both = (first,) if second is None else (first, second)
        for one in both:  # before the link is shown: a browser may be faster than the server
            one.listen()
        return Loopback(both)
    raise UsageRefused(f"no port is free on both 127.0.0.1 and ::1, after {TRIES} tries; close what holds them")


def _bind_six(port: int) -> socket.socket | None:
    """None if this machine has no IPv6 loopback. Raises ``OSError`` if the port is taken."""
    if not socket.has_ipv6:
        return None
    one = None
    with suppress(OSError):
        one = socket.socket(socket.AF_INET6, socket.SOCK_STREAM)
    if one is None:
        return None
    try:
        one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(("::1", port))
    except OSError as error:
        one.close()
        if error.errno in NO_IPV6:
            return None
        raise
    return one
