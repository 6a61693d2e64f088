"""What a caller may get from each route, in one table: the hub's OpenAPI is made from it, and from the table of roles.

The routes take and give bytes that the framework doesn't look at (JSON Lines, sealed terms), so their bodies are
described here too. All refusals are problems (RFC 9457).
"""

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from hub.errors import SetupRefused
from protocol import routes
from protocol.authority import ROUTES, Access
from protocol.dpop import ALGORITHM, SCHEME
from protocol.problems import CONTENT_TYPE, Problem
from protocol.tokens import ASSERTION_TYPE

JSON: Final = "application/json"
JSON_LINES: Final = "application/jsonl"
OCTETS: Final = "application/octet-stream"
FORM: Final = "application/x-www-form-urlencoded"
METRICS_TEXT: Final = "text/plain"
NOTE: Final = "text/plain"
_EVERY: Final = frozenset({500, 503})
"""An incident; a hub that is being stopped."""
_WITH_TOKEN: Final = frozenset({401, 403, 404})
"""404: the hub has no charter yet."""
_PROBLEM: Final = {"$ref": "#/components/schemas/Problem"}
_TEXT: Final = {"type": "string"}
_BINARY: Final = {"type": "string", "format": "binary"}


@dataclass(frozen=True, slots=True)
class Described:
    """`refusals` beside those that every route with such access has; `takes` and `gives` are media types."""

    refusals: frozenset[int] = frozenset()
    takes: str = ""
    gives: str = JSON
    successes: tuple[int, ...] = (200,)


def _d(*refusals: int, takes: str = "", gives: str = JSON, successes: tuple[int, ...] = (200,)) -> Described:
    return Described(frozenset(refusals), takes, gives, successes)


_STORED: Final = (200, 201)
"""It was here before, or it is new."""

DESCRIBED: dict[tuple[str, str], Described] = {
    ("GET", routes.HEALTH): _d(),
    ("GET", routes.METRICS): _d(gives=METRICS_TEXT),
    ("POST", routes.TOKENS): _d(400, 401, 404, 409, 413, 429, takes=FORM),
    ("GET", routes.CHARTER): _d(gives=JSON_LINES),
    ("POST", routes.CHARTER): _d(400, 403, 404, 409, 410, 413, 429, takes=JSON_LINES),
    ("GET", routes.ENROLMENTS): _d(),
    ("POST", routes.ENROLMENTS): _d(400, 403, 404, 409, 410, 413, 429, takes=JSON),
    ("GET", routes.SILOS): _d(),
    ("GET", routes.BUDGETS): _d(),
    ("POST", routes.STATEMENTS): _d(400, 409, 410, 413, takes=JSON_LINES),
    ("GET", routes.STUDIES): _d(),
    ("GET", routes.STUDY): _d(400),
    ("PUT", routes.BLOB): _d(400, 409, 413, takes=OCTETS, gives="", successes=_STORED),
    ("GET", routes.BLOB): _d(400, gives=OCTETS),
    ("PUT", routes.JOB_BLOB): _d(400, 409, 413, takes=OCTETS, gives="", successes=_STORED),
    ("GET", routes.JOB_BLOB): _d(400, gives=OCTETS),
    ("PUT", routes.CHUNK): _d(400, 409, 413, takes=OCTETS, gives="", successes=_STORED),
    ("GET", routes.CHUNKS): _d(400, 409),
    ("PUT", routes.SHARES): _d(400, 409, 413, takes=OCTETS, gives="", successes=_STORED),
    ("GET", routes.SHARES): _d(400, gives=OCTETS),
    ("GET", routes.SUM): _d(400, gives=OCTETS),
    ("GET", routes.POLL): _d(400),
    ("GET", routes.LOG_CHECKPOINT): _d(404),
    ("POST", routes.LOG_COSIGNATURES): _d(400, 409, 413, takes=NOTE, gives="", successes=(204,)),
    ("GET", routes.LOG_WITNESSED): _d(404, gives=NOTE),
    ("GET", routes.LOG_TIMESTAMP): _d(404),
    ("GET", routes.LOG_TILED_CHECKPOINT): _d(404, gives=NOTE),
    ("GET", routes.LOG_TILE): _d(404, gives=OCTETS),
    ("GET", routes.LOG_CONSISTENCY): _d(400),
    ("GET", routes.LOG_INCLUSION): _d(400),
    ("GET", routes.LOG_EXPORT): _d(gives=JSON_LINES),
}
"""By method and path. A route without a row is refused when the hub starts."""

_BODIES: Final[dict[str, dict[str, Any]]] = {
    NOTE: _TEXT,
    JSON_LINES: _TEXT,
    OCTETS: _BINARY,
    JSON: routes.EnrolmentRequest.model_json_schema(),
    FORM: {
        "type": "object",
        "required": ["grant_type", "client_assertion_type", "client_assertion"],
        "properties": {
            "grant_type": {"const": "client_credentials"},
            "client_assertion_type": {"const": ASSERTION_TYPE},
            "client_assertion": _TEXT,
        },
    },
}


def install(app: FastAPI) -> None:
    """Make `app.openapi` answer with the whole description. Raises `SetupRefused` for a route that has none."""
    schema = get_openapi(title=app.title, version=app.version, routes=app.routes)
    for method, path in ROUTES.keys() - {("GET", routes.OPENAPI)}:
        described = DESCRIBED.get((method, path))
        if described is None:
            raise SetupRefused(f"{method} {path}: hub/api/openapi.py doesn't say what it may answer")
        # OpenAPI has no name for a parameter that spans slashes.
        operation = schema["paths"][path.replace(":path}", "}")][method.lower()]
        _describe(operation, described, ROUTES[method, path])
    parts = schema.setdefault("components", {})
    used = parts.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        used.pop(unused, None)
    used["Problem"] = Problem.model_json_schema()
    about = f"RFC 9449: an access token with a proof in the header {SCHEME}, alg {ALGORITHM}, with the hub's nonce."
    parts["securitySchemes"] = {"dpop": {"type": "http", "scheme": SCHEME, "description": about}}
    app.openapi = lambda: schema  # type: ignore[method-assign]


def _describe(operation: dict[str, Any], described: Described, access: Access) -> None:
    if not access.is_open:
        operation["security"] = [{"dpop": [access.scope]}]
        operation["x-roles"] = sorted(access.roles)
    if described.takes:
        content = {described.takes: {"schema": _BODIES[described.takes]}}
        operation["requestBody"] = {"required": True, "content": content}
    answered = operation["responses"].get("200", {}).get("content", {}).get(JSON, {})
    operation["responses"] = {str(status): _success(described, status, answered) for status in described.successes}
    refusals = described.refusals | _EVERY | (frozenset() if access.is_open else _WITH_TOKEN)
    for status in sorted(refusals):
        content = {CONTENT_TYPE: {"schema": _PROBLEM}}
        operation["responses"][str(status)] = {"description": HTTPStatus(status).phrase, "content": content}


def _success(described: Described, status: int, answered: dict[str, Any]) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": HTTPStatus(status).phrase}
    if described.gives:
        schema = {JSON: answered.get("schema", {}), OCTETS: _BINARY}.get(described.gives, _TEXT)
        answer["content"] = {described.gives: {"schema": schema}}
    return answer
