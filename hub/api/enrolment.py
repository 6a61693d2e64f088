"""The charter, enrolments, and the members."""

from typing import Annotated

from fastapi import APIRouter, Depends, Response
from pydantic import ValidationError

from hub.api.admission import caller_of
from hub.api.bodies import bounded
from hub.api.limits import limited
from hub.errors import BadRequest
from hub.services.identity import Caller
from hub.services.wiring import Services
from protocol.canonical import MAX_DOCUMENT_BYTES
from protocol.routes import CHARTER, ENROLMENTS, SILOS, EnrolmentRequest, PendingEnrolment, Recorded, SiloStatus
from protocol.study import explain

MAX_ENROLMENT_BYTES = 64 * 1024
JSON_LINES = "application/jsonl"


def router(services: Services) -> APIRouter:
    api = APIRouter()
    authenticated = Depends(caller_of(services))
    unproven = Depends(limited(services.enrolment_limit))

    @api.get(CHARTER)
    def charters() -> Response:
        lines = [wire + b"\n" for wire in services.charters.wires()]
        return Response(b"".join(lines), media_type=JSON_LINES)

    @api.post(CHARTER, dependencies=[unproven])
    def found(body: Annotated[bytes, Depends(bounded(MAX_DOCUMENT_BYTES))]) -> Recorded:
        """Pin the founding charter; once, and only one that names this hub's own keys."""
        return Recorded(indices=(services.charters.found(body.removesuffix(b"\n")),))

    @api.post(ENROLMENTS, dependencies=[unproven])
    def enrol(body: Annotated[bytes, Depends(bounded(MAX_ENROLMENT_BYTES))]) -> Recorded:
        try:
            request = EnrolmentRequest.model_validate_json(body)
        except ValidationError as error:
            raise BadRequest(f"enrolment refused: {explain(error)}") from None
        return Recorded(indices=(services.enrolments.enrol(request),))

    @api.get(ENROLMENTS)
    def pending(caller: Annotated[Caller, authenticated]) -> list[PendingEnrolment]:
        return services.enrolments.pending()

    @api.get(SILOS)
    def silos(caller: Annotated[Caller, authenticated]) -> list[SiloStatus]:
        """The members, for every party of the charter."""
        return services.enrolments.silos()

    return api
