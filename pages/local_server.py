"""How a page of this machine alone is served: by one small server that writes nothing down."""

from typing import Final

import uvicorn
from starlette.types import ASGIApp

_HEADER_BYTES: Final = 16 * 1024


def quiet_server(app: ASGIApp, at_once: int) -> uvicorn.Config:
    """Serves at most ``at_once`` connections. Nothing is logged: the paths of such pages hold a secret."""
    return uvicorn.Config(
        app,
        http="h11",
        ws="none",
        lifespan="off",
        loop="asyncio",
        log_config=None,
        log_level="critical",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        limit_concurrency=at_once,
        timeout_graceful_shutdown=2,
        h11_max_incomplete_event_size=_HEADER_BYTES,
    )
