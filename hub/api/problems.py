"""The one table from errors to HTTP (RFC 9457). What isn't in it is a bare 500 with an incident number."""

import secrets
from collections.abc import Mapping

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from hub import errors
from protocol import problems
from protocol.dpop import ALGORITHM, SCHEME
from protocol.errors import BadSignature, CharterRefused, Malformed, ProtocolError
from protocol.problems import CONTENT_TYPE, Problem

log = structlog.get_logger()


TABLE: tuple[tuple[type[Exception], int, str, str], ...] = (
    (Malformed, 400, problems.MALFORMED, "Malformed"),
    (BadSignature, 403, problems.FORBIDDEN, "Signature refused"),
    (CharterRefused, 409, problems.CONFLICT, "Charter refused"),
    (ProtocolError, 400, problems.MALFORMED, "Malformed"),
    (errors.NonceNeeded, 401, problems.USE_DPOP_NONCE, "Nonce needed"),
    (errors.InvalidProof, 401, problems.INVALID_DPOP_PROOF, "Proof refused"),
    (errors.Unauthenticated, 401, problems.UNAUTHENTICATED, "Not authenticated"),
    (errors.Forbidden, 403, problems.FORBIDDEN, "Forbidden"),
    (errors.OutOfScope, 403, problems.FORBIDDEN, "Forbidden"),
    (errors.NotFound, 404, problems.NOT_FOUND, "Not found"),
    (errors.BadRequest, 400, problems.MALFORMED, "Malformed"),
    (errors.Conflict, 409, problems.CONFLICT, "Conflict"),
    (errors.Expired, 410, problems.EXPIRED, "Expired"),
    (errors.TooLarge, 413, problems.TOO_LARGE, "Too large"),
    (errors.TooOften, 429, problems.TOO_OFTEN, "Too many requests"),
    (errors.BudgetExceeded, 409, problems.BUDGET, "Budget exceeded"),
)
_BY_STATUS = {401: problems.UNAUTHENTICATED, 403: problems.FORBIDDEN, 404: problems.NOT_FOUND}


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    app.add_exception_handler(errors.Refused, _refused)
    app.add_exception_handler(ProtocolError, _refused)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(Exception, _unknown)


def respond(problem: Problem, headers: Mapping[str, str] | None = None) -> Response:
    body = problem.model_dump_json(exclude_none=True)
    return Response(body, problem.status, headers=headers, media_type=CONTENT_TYPE)


def problem_of(error: Exception) -> Problem:
    """The problem a known error becomes, by the first row that fits."""
    for kind, status, name, title in TABLE:
        if isinstance(error, kind):
            return Problem(type=name, title=title, status=status, detail=str(error))
    raise error


async def _refused(request: Request, error: Exception) -> Response:
    problem = problem_of(error)
    if not isinstance(error, errors.NonceNeeded):  # a step of asking for a token, not a refusal: RFC 9449, section 8
        log.info("refused", method=request.method, path=request.url.path, status=problem.status, detail=problem.detail)
    return respond(problem, _headers_of(error))


def _headers_of(error: Exception) -> dict[str, str]:
    """What to do next, for programs: RFC 6750, section 3, and RFC 9449, section 7.1."""
    match error:
        case errors.TooOften():
            return {"Retry-After": str(error.retry_after_s)}
        case errors.Unauthenticated():
            shown = f'error="{error.code}", ' if error.code else ""
            return {"WWW-Authenticate": f'{SCHEME} {shown}algs="{ALGORITHM}"'}
        case errors.OutOfScope():
            return {"WWW-Authenticate": f'{SCHEME} error="insufficient_scope", scope="{error.scope}"'}
    return {}


async def _invalid(request: Request, error: Exception) -> Response:
    items = error.errors()[:10] if isinstance(error, RequestValidationError) else []
    fields = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in items)
    return respond(Problem(type=problems.MALFORMED, title="Malformed", status=400, detail=fields))


async def _http(request: Request, error: Exception) -> Response:
    if not isinstance(error, HTTPException):
        return await _unknown(request, error)
    status, detail = error.status_code, str(error.detail)
    kind = _BY_STATUS.get(status, problems.MALFORMED)
    return respond(Problem(type=kind, title=detail, status=status, detail=detail), error.headers)


async def _unknown(request: Request, error: Exception) -> Response:
    incident = secrets.token_hex(8)
    # Only where it happened: an exception's text may hold what the caller sent.
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    line = None if where is None else f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
    log.error(
        "incident", incident=incident, method=request.method, path=request.url.path, error=type(error).__name__, at=line
    )
    detail = "The hub failed. Tell its operator the incident number."
    return respond(
        Problem(type=problems.INTERNAL, title="Internal error", status=500, detail=detail, incident=incident)
    )
