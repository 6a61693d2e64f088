"""The transparency log, and the long poll by which parties follow it."""

import base64
import time
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from hub.api.admission import caller_of
from hub.api.bodies import bounded
from hub.api.places import Position
from hub.audit.tiles import Tile
from hub.services.identity import Caller
from hub.services.news import QUIET_DELAY_S
from hub.services.timestamps import newest_timestamp
from hub.services.wiring import Services
from protocol.cosignature import MAX_LINE_BYTES
from protocol.routes import (
    LOG_CHECKPOINT,
    LOG_CONSISTENCY,
    LOG_COSIGNATURES,
    LOG_EXPORT,
    LOG_INCLUSION,
    LOG_TILE,
    LOG_TILED_CHECKPOINT,
    LOG_TIMESTAMP,
    LOG_WITNESSED,
    MAX_WAIT_S,
    POLL,
    CheckpointAnswer,
    Follow,
    TimestampAnswer,
)

NOTE = "text/plain; charset=utf-8"
OCTETS = "application/octet-stream"
BRIEFLY = {"Cache-Control": "public, max-age=5"}
FOR_EVER = {"Cache-Control": "public, max-age=31536000, immutable"}
"""A tile, full or partial, never changes: its name says how much of the log is in it."""


def router(services: Services) -> APIRouter:
    api = APIRouter()
    authenticated = Depends(caller_of(services))

    @api.get(POLL, response_model=Follow)
    async def poll(
        caller: Annotated[Caller, authenticated],
        after: Position,
        wait_s: Annotated[float, Query(ge=0, le=MAX_WAIT_S)] = 0.0,
        candidate: Annotated[str | None, Query(pattern=r"^[0-9a-f]{64}$")] = None,
    ) -> Response:
        """Waits without holding a thread or a database connection."""
        deadline = time.monotonic() + wait_s
        while True:
            ticket = services.news.ticket()
            follow, urgent = await run_in_threadpool(services.log.follow, caller, after, candidate)
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

    @api.post(LOG_COSIGNATURES, status_code=204)
    def cosign(
        caller: Annotated[Caller, authenticated], body: Annotated[bytes, Depends(bounded(MAX_LINE_BYTES))]
    ) -> Response:
        services.candidates.cosign(caller, body)
        return Response(status_code=204)

    @api.get(LOG_WITNESSED)
    def witnessed() -> Response:
        return Response(services.candidates.quorate().note, media_type=NOTE, headers=BRIEFLY)

    @api.get(LOG_TIMESTAMP)
    def timestamp() -> TimestampAnswer:
        held = newest_timestamp(services.database)
        token = base64.b64encode(held.token or b"").decode()
        return TimestampAnswer(checkpoint=held.note, token=token)

    @api.get(LOG_TILED_CHECKPOINT)
    def tiled_checkpoint() -> Response:
        return Response(services.log.note(), media_type=NOTE, headers=BRIEFLY)

    @api.get(LOG_TILE)
    def tile(path: str) -> Response:
        """Tiles of hashes are public: they tell how much was recorded, and nothing about what."""
        return Response(services.log.tile(Tile.parse(path)), media_type=OCTETS, headers=FOR_EVER)

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
