"""Tokens."""

from typing import Annotated
from urllib.parse import parse_qs

from fastapi import APIRouter, Depends, Request, Response

from hub.api.admission import asked_of, one_header
from hub.api.bodies import bounded
from hub.api.limits import limited
from hub.errors import BadRequest
from hub.services.wiring import Services
from protocol.routes import TOKENS, TokenAnswer
from protocol.tokens import ASSERTION_TYPE

MAX_FORM_BYTES = 8192


def router(services: Services) -> APIRouter:
    api = APIRouter()

    @api.post(TOKENS, dependencies=[Depends(limited(services.token_limit))])
    def token(
        request: Request, form: Annotated[bytes, Depends(bounded(MAX_FORM_BYTES))], response: Response
    ) -> TokenAnswer:
        """RFC 7523, section 2.2: client credentials with a signed assertion, and a DPoP proof (RFC 9449, section 5)."""
        fields = _fields(form)
        if fields.get("grant_type") != "client_credentials" or fields.get("client_assertion_type") != ASSERTION_TYPE:
            raise BadRequest(f"grant_type must be client_credentials, client_assertion_type {ASSERTION_TYPE}")
        response.headers["Cache-Control"] = "no-store"
        asked = asked_of(request, services.settings.public_origin)
        return services.identity.token(fields.get("client_assertion", ""), one_header(request, "dpop"), asked)

    return api


def _fields(form: bytes) -> dict[str, str]:
    try:
        parsed = parse_qs(form.decode("ascii"), strict_parsing=True, max_num_fields=10)
    except ValueError:
        raise BadRequest("the body must be application/x-www-form-urlencoded") from None
    if any(len(values) != 1 for values in parsed.values()):
        raise BadRequest("each form field may be given once")
    return {name: values[0] for name, values in parsed.items()}
