"""The console's server: on this machine alone, with its links said in the terminal, until it is stopped."""

import asyncio
import sys
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from pages.loopback import Loopback
from silo_node.console.site import console_site
from silo_node.console.visit import Site


def serve_console(site: Site, loopback: Loopback, say: Callable[[str], None]) -> None:
    """Serves until a signal ends it. ``say`` is told a link at the start, and one more for each line of input."""
    asyncio.run(_serve(site, loopback, say))


async def _serve(site: Site, loopback: Loopback, say: Callable[[str], None]) -> None:
    def link() -> None:
        say(f"{loopback.origin}/in/{site.sessions.new_link()}")

    link()
    _at_each_line(link)
    await uvicorn.Server(_configuration(site)).serve(list(loopback.sockets))


def _at_each_line(act: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()

    def read() -> None:
        if sys.stdin.readline():
            act()
        else:
            loop.remove_reader(sys.stdin)

    with suppress(OSError, ValueError):  # no input that can be waited for, as under a service manager
        loop.add_reader(sys.stdin, read)


def _configuration(site: Site) -> uvicorn.Config:
    """Nothing is logged: paths hold a secret."""
    return uvicorn.Config(
        console_site(site),
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=64,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=16 * 1024,
    )
