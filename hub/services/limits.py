"""How often one address may ask for what needs no token: fixed windows, counted in this process alone.

Several processes of a hub allow as many times the limit. That is enough: the limit is there against floods, and a
code of 100 random bits isn't guessed at any rate that gets through.
"""

import ipaddress
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from hub.errors import TooOften

WINDOW_S = 60
MAX_ADDRESSES = 10_000
OTHERS = "others"
"""All addresses beyond those that a window has room for count as one."""
IPV6_PREFIX = 64


@dataclass(slots=True)
class FixedWindow:
    """At most `limit` requests of an address in each minute; `seconds` is a clock that never goes back."""

    limit: int
    seconds: Callable[[], float]
    _window: int = -1
    _counts: dict[str, int] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, address: str) -> None:
        """Count a request. Raises `TooOften` above the limit."""
        now = self.seconds()
        window = int(now // WINDOW_S)
        with self._lock:
            if window != self._window:
                self._window, self._counts = window, {}
            name = source_of(address)
            if name not in self._counts and len(self._counts) >= MAX_ADDRESSES:
                name = OTHERS
            count = self._counts[name] = self._counts.get(name, 0) + 1
        if count > self.limit:
            raise TooOften(
                f"more than {self.limit} such requests a minute come from your address; wait, then send it again",
                retry_after_s=int((window + 1) * WINDOW_S - now) + 1,
            )


def source_of(address: str) -> str:
    """What is counted as one: an IPv4 address, or an IPv6 network of 64 bits, which one host may hold whole."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:64]
    if parsed.version == 4:
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped else str(ipaddress.ip_network((parsed, IPV6_PREFIX), strict=False))
