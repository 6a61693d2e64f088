"""The one table from errors to HTTP (RFC 9457). What isn't in it is a bare 500 with an incident number."""

import secrets

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from hub import errors
from protocol import problems
from protocol.errors import BadSignature, CharterRefused, Malformed, ProtocolError
from protocol.problems import CONTENT_TYPE, Problem

log = structlog.get_logger()


TABLE: tuple[tuple[type[Exception], int, str, str], ...] = (
    (Malformed, 400, problems.MALFORMED, "Malformed"),
    (BadSignature, 403, problems.FORBIDDEN, "Signature refused"),
    (CharterRefused, 409, problems.CONFLICT, "Charter refused"),
    (ProtocolError, 400, problems.MALFORMED, "Malformed"),
    (errors.Unauthenticated, 401, problems.UNAUTHENTICATED, "Not authenticated"),
    (errors.Forbidden, 403, problems.FORBIDDEN, "Forbidden"),
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


def respond(problem: Problem, retry_after_s: int | None = None) -> Response:
    headers = {"WWW-Authenticate": "Bearer"} if problem.status == 401 else {}
    if retry_after_s is not None:
        headers["Retry-After"] = str(retry_after_s)
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
    log.info("refused", method=request.method, path=request.url.path, status=problem.status, detail=problem.detail)
    return respond(problem, error.retry_after_s if isinstance(error, errors.TooOften) else None)


async def _invalid(request: Request, error: Exception) -> Response:
    items = error.errors()[:10] if isinstance(error, RequestValidationError) else []
    fields = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in items)
    return respond(Problem(type=problems.MALFORMED, title="Malformed", status=400, detail=fields))


async def _http(request: Request, error: Exception) -> Response:
    status, detail = (error.status_code, str(error.detail)) if isinstance(error, HTTPException) else (500, "Error")
    return respond(Problem(type=_BY_STATUS.get(status, problems.MALFORMED), title=detail, status=status, detail=detail))


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
