"""Whether the hub works, and its numbers; neither names a study or a party."""

import time

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hub.services.wiring import Services
from protocol.routes import HEALTH, METRICS, POLL


def router(services: Services, registry: CollectorRegistry) -> APIRouter:
    api = APIRouter()
    size = Gauge("consortia_log_size", "Leaves in the log", registry=registry)
    rounds = Gauge("consortia_rounds", "Rounds by state", ["state"], registry=registry)

    waiting = Gauge("consortia_polls_waiting", "Long polls that wait for news", registry=registry)

    @api.get(HEALTH)
    def health() -> dict[str, str]:
        """200 while the database answers."""
        services.log.size()
        return {"status": "ok"}

    @api.get(METRICS)
    def metrics() -> Response:
        size.set(services.log.size())
        waiting.set(services.news.waiting)
        for state, count in services.rounds.states().items():
            rounds.labels(state).set(count)
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return api


class RequestCounter:
    """ASGI middleware: counts and times requests by route and status.

    The long poll isn't timed: its time is its waiting.
    """

    def __init__(self, app: ASGIApp, registry: CollectorRegistry) -> None:
        self._app = app
        self._requests = Counter("consortia_requests", "Requests", ["method", "route", "status"], registry=registry)
        self._seconds = Histogram("consortia_request_seconds", "Time to answer", ["route"], registry=registry)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), "500"

        async def observe(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self._app(scope, receive, observe)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._requests.labels(scope["method"], route, status).inc()
            if route != POLL:
                self._seconds.labels(route).observe(time.perf_counter() - start)
