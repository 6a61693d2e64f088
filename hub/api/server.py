"""The HTTP server's end: polls are answered, what is late gets a 503, and the process ends well."""

import asyncio
import contextlib
import signal
import socket
from collections.abc import Callable, Iterator

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.api.problems import respond
from protocol.problems import INTERNAL, Problem

STOPPING = Problem(
    type=INTERNAL, title="Stopping", status=503, detail="The hub is being stopped; send this again when it is back."
)


class HubServer(uvicorn.Server):
    """Calls `stopping` before it waits for open requests; the end that a signal asked for is a success."""

    def __init__(self, config: uvicorn.Config, stopping: Callable[[], None]) -> None:
        super().__init__(config)
        self._stopping = stopping

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._stopping()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Unlike the original's, it doesn't end the process by the same signal once all is stopped."""
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


class LateRequests:
    """ASGI middleware: a request that the stopping server cancels is answered, without a traceback in the log."""

    def __init__(self, app: ASGIApp, stopping: Callable[[], bool]) -> None:
        self._app = app
        self._stopping = stopping

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = False

        async def watch(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watch)
        except asyncio.CancelledError:
            if scope["type"] != "http" or not self._stopping():
                raise
            if not started:
                await respond(STOPPING)(scope, receive, send)
