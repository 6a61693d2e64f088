"""The console's server: on this machine alone, with its links said in the terminal, until it is stopped."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import uvicorn

from pages.local_server import quiet_server
from pages.loopback import Loopback
from silo_node.console.site import console_site
from silo_node.console.visit import Site

CONNECTIONS: Final = 64
"""At once: several tabs, and a browser that asks for much at a time."""


def serve_console(site: Site, loopback: Loopback, say: Callable[[str], None]) -> None:
    """Serves until a signal ends it. ``say`` is told a link at the start, and one more for each line of input."""
    asyncio.run(_serve(site, loopback, say))


async def _serve(site: Site, loopback: Loopback, say: Callable[[str], None]) -> None:
    def link() -> None:
        say(f"{loopback.origin}/in/{site.sessions.new_link()}")

    link()
    _at_each_line(link)
    await uvicorn.Server(quiet_server(console_site(site), CONNECTIONS)).serve(list(loopback.sockets))


def _at_each_line(act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def read() -> None:
        if sys.stdin.readline():
            act()
        else:
            loop.remove_reader(sys.stdin)

    with suppress(OSError, ValueError):  # no input that can be waited for, as under a service manager
        loop.add_reader(sys.stdin, read)
