"""Statements in, studies out, and sealed bundles."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from hub.api.admission import caller_of
from hub.api.bodies import bounded, to_file
from hub.errors import BadRequest
from hub.services.identity import Caller
from hub.services.wiring import Services
from protocol.ids import Digest, StudyId
from protocol.routes import (
    BLOB,
    MAX_BLOB_BYTES,
    MAX_POST_BYTES,
    STATEMENTS,
    STUDIES,
    STUDY,
    Recorded,
    StudyStatus,
)

OCTETS = "application/octet-stream"


def router(services: Services) -> APIRouter:
    api = APIRouter()
    authenticated = Depends(caller_of(services))

    @api.post(STATEMENTS)
    def post(
        caller: Annotated[Caller, authenticated], body: Annotated[bytes, Depends(bounded(MAX_POST_BYTES))]
    ) -> Recorded:
        """JSON Lines: all are recorded, or none."""
        return Recorded(indices=services.statements.post(caller, lines_of(body)))

    @api.get(STUDIES)
    def studies(caller: Annotated[Caller, authenticated]) -> list[StudyStatus]:
        return services.studies.visible(caller)

    @api.get(STUDY)
    def study(study: StudyId, caller: Annotated[Caller, authenticated]) -> StudyStatus:
        return services.studies.one(caller, study)

    @api.put(BLOB)
    async def put_blob(
        study: StudyId, digest: Digest, caller: Annotated[Caller, authenticated], request: Request
    ) -> Response:
        await run_in_threadpool(services.releases.check_upload, caller, study)
        file, size = await to_file(request, services.settings.folder, MAX_BLOB_BYTES, digest)
        with file:
            new = await run_in_threadpool(services.releases.put, caller, study, digest, file, size)
        return Response(status_code=201 if new else 200)

    @api.get(BLOB)
    def get_blob(study: StudyId, digest: Digest, caller: Annotated[Caller, authenticated]) -> StreamingResponse:
        return StreamingResponse(services.releases.get(caller, study, digest), media_type=OCTETS)

    return api


def lines_of(body: bytes) -> list[bytes]:
    """The lines of a JSON Lines body; a last newline is allowed, an empty line is not."""
    lines = body.removesuffix(b"\n").split(b"\n")
    if b"" in lines:
        raise BadRequest("statements: an empty line; send one statement on each")
    return lines
