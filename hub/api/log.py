"""The transparency log, and the long poll by which parties follow it."""

import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from hub.api.admission import caller_of
from hub.api.places import Position
from hub.services.identity import Caller
from hub.services.news import QUIET_DELAY_S
from hub.services.wiring import Services
from protocol.routes import (
    LOG_CHECKPOINT,
    LOG_CONSISTENCY,
    LOG_EXPORT,
    LOG_INCLUSION,
    MAX_WAIT_S,
    POLL,
    CheckpointAnswer,
    Follow,
)


def router(services: Services) -> APIRouter:
    api = APIRouter()
    authenticated = Depends(caller_of(services))

    @api.get(POLL, response_model=Follow)
    async def poll(
        caller: Annotated[Caller, authenticated],
        after: Position,
        wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0.0,
    ) -> Response:
        """Waits without holding a thread or a database connection."""
        deadline = time.monotonic() + wait_s
        while True:
            ticket = services.news.ticket()
            follow, urgent = await run_in_threadpool(services.log.follow, caller, after)
            left = deadline - time.monotonic()
            if urgent or left <= 0 or services.news.stopped:
                return Response(follow.model_dump_json(), media_type="application/json")
            if follow.entries:
                # Nobody acts on these: a moment's wait, and they travel with what comes next.
                deadline = min(deadline, time.monotonic() + QUIET_DELAY_S)
                left = min(left, QUIET_DELAY_S)
            await services.news.wait(ticket, left)

    @api.get(LOG_CHECKPOINT)
    def checkpoint() -> CheckpointAnswer:
        return services.log.checkpoint()

    @api.get(LOG_CONSISTENCY)
    def consistency(first: Position, second: Position, caller: Annotated[Caller, authenticated]) -> tuple[str, ...]:
        return services.log.consistency(first, second)

    @api.get(LOG_INCLUSION)
    def inclusion(index: Position, size: Position, caller: Annotated[Caller, authenticated]) -> tuple[str, ...]:
        return services.log.inclusion(index, size)

    @api.get(LOG_EXPORT)
    def export(caller: Annotated[Caller, authenticated]) -> StreamingResponse:
        return StreamingResponse(services.log.export(caller), media_type="application/jsonl")

    return api
