"""Bundles of shares in and out, chunks of sealed terms in, chunks of sums out."""

from typing import Annotated

from fastapi import APIRouter, Depends, Header, Response
from fastapi.responses import StreamingResponse

from hub.aggregation.intake import MAX_BUNDLE_BYTES, MAX_CHUNK_BYTES
from hub.api.admission import caller_of
from hub.api.bodies import bounded
from hub.api.places import Number
from hub.services.identity import Caller
from hub.services.wiring import Services
from protocol.ids import SiloId, StudyId
from protocol.routes import CHUNK, CHUNKS, SHARES, SUM, ReceivedChunks


def router(services: Services) -> APIRouter:
    api = APIRouter()
    authenticated = Depends(caller_of(services))

    @api.put(CHUNK)
    def put_chunk(
        study: StudyId,
        round: Number,
        attempt: Number,
        index: Number,
        caller: Annotated[Caller, authenticated],
        body: Annotated[bytes, Depends(bounded(MAX_CHUNK_BYTES))],
        content_digest: Annotated[str | None, Header()] = None,
    ) -> Response:
        """201 when it is new, 200 when the same bytes were here. A chunk has at most 1 MB, so it is held whole."""
        new = services.rounds.put_chunk(caller, study, round, attempt, index, body, content_digest)
        return Response(status_code=201 if new else 200)

    @api.put(SHARES)
    def put_shares(
        study: StudyId,
        round: Number,
        attempt: Number,
        silo: SiloId,
        caller: Annotated[Caller, authenticated],
        body: Annotated[bytes, Depends(bounded(MAX_BUNDLE_BYTES))],
        content_digest: Annotated[str | None, Header()] = None,
    ) -> Response:
        """201 when it is new, 200 when the same bytes were here."""
        new = services.rounds.put_shares(caller, study, round, attempt, silo, body, content_digest)
        return Response(status_code=201 if new else 200)

    @api.get(SHARES)
    def get_shares(
        study: StudyId, round: Number, attempt: Number, silo: SiloId, caller: Annotated[Caller, authenticated]
    ) -> StreamingResponse:
        parts = services.rounds.shares(caller, study, round, attempt, silo)
        return StreamingResponse(parts, media_type="application/octet-stream")

    @api.get(CHUNKS)
    def chunks(
        study: StudyId, round: Number, attempt: Number, caller: Annotated[Caller, authenticated]
    ) -> ReceivedChunks:
        return services.rounds.received(caller, study, round, attempt)

    @api.get(SUM)
    def get_sum(
        study: StudyId, round: Number, attempt: Number, index: Number, caller: Annotated[Caller, authenticated]
    ) -> StreamingResponse:
        parts = services.rounds.sum_chunk(caller, study, round, attempt, index)
        return StreamingResponse(parts, media_type="application/octet-stream")

    return api
