"""Sealed bundles of reviewed code, and sealed outputs."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from starlette.concurrency import run_in_threadpool

from hub.api.admission import caller_of
from hub.api.bodies import to_file
from hub.services.identity import Caller
from hub.services.wiring import Services
from protocol.ids import Digest
from protocol.routes import JOB_BLOB, MAX_JOB_BLOB_BYTES


def router(services: Services) -> APIRouter:
    api = APIRouter()
    authenticated = Depends(caller_of(services))

    @api.put(JOB_BLOB)
    async def put_blob(digest: Digest, caller: Annotated[Caller, authenticated], request: Request) -> Response:
        """201 when it is new, 200 when the same bytes were here."""
        await run_in_threadpool(services.jobs.check_upload, caller)
        file, size = await to_file(request, services.settings.folder, MAX_JOB_BLOB_BYTES, digest)
        with file:
            new = await run_in_threadpool(services.jobs.put, caller, digest, file, size)
        return Response(status_code=201 if new else 200)

    @api.get(JOB_BLOB)
    def get_blob(digest: Digest, caller: Annotated[Caller, authenticated]) -> StreamingResponse:
        return StreamingResponse(services.jobs.get(caller, digest), media_type="application/octet-stream")

    return api
