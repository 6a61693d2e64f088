"""Every route of a running hub, as every role: by the table of roles, and by the hub's own OpenAPI.

The first half calls each route once as each role, from `protocol.authority`. The second lets Schemathesis make up
requests from the description, sound ones and broken ones, half of them about a study that is there.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from requests.auth import AuthBase
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from protocol import routes
from protocol.authority import ROLES, ROUTES, Access
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import Party
from tests.unit.hub.rig.process import HubProcess

PLACES = {(method, path.replace(":path}", "}")): access for (method, path), access in ROUTES.items()}
"""The table with paths as OpenAPI writes them."""
ANONYMOUS = "anonymous"
CALLERS = (ANONYMOUS, *ROLES)
CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
EDGES = (None, 0, 1, 2, -1, 2**31 - 1, 2**31, 2**62, 2**63, 2**80)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HubProcess]:
    process = HubProcess(
        tmp_path_factory.mktemp("openapi") / "hub", tokens_per_minute="100000", enrolments_per_minute="100000"
    )
    process.start()
    yield process
    process.stop()


@pytest.fixture(scope="module")
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


@pytest.fixture(scope="module")
def known(consortium: Consortium) -> dict[str, Any]:
    """What fills a path: a study that is frozen in its first round."""
    for silo in consortium.silos:
        silo.silent_in = {(0, "upload")}
    study = consortium.start(title="Frozen", timeout_s=600)
    with consortium.running(study):
        consortium.await_status(study, lambda s: bool(s["current"]) and s["current"]["state"] == "frozen")
    place = {"study": study, "round": 0, "attempt": 1, "index": 0, "silo": "ada", "digest": secrets.token_hex(32)}
    return {**place, "path": "0/000.p/1"}


def party(consortium: Consortium, role: str) -> Party | None:
    people = {"admin": consortium.admin, "researcher": consortium.lead, "officer": consortium.officer}
    return consortium.silo("ada") if role == "silo" else people.get(role)


def is_inside(access: Access, role: str) -> bool:
    return access.is_open or role in access.roles


@pytest.mark.parametrize("role", CALLERS)
@pytest.mark.parametrize(("method", "path"), PLACES, ids=[" ".join(place) for place in PLACES])
def test_each_route_is_open_to_the_roles_of_the_table_and_to_no_other(
    consortium: Consortium, known: dict[str, Any], method: str, path: str, role: str
) -> None:
    caller, access = party(consortium, role), PLACES[method, path]
    answer = httpx.request(
        method, consortium.url + path.format(**known), params=_query(path), auth=caller.auth if caller else None
    )
    challenge = answer.headers.get("WWW-Authenticate", "")
    if is_inside(access, role):
        assert "insufficient_scope" not in challenge
        # A token request without an assertion is malformed before it is anything else.
        assert answer.status_code in (200, 400, 403, 404), answer.text
        assert answer.status_code != 403 or "role" not in answer.json()["detail"]
    elif role == ANONYMOUS:
        assert (answer.status_code, challenge) == (401, 'DPoP algs="EdDSA"')
    else:
        assert (answer.status_code, challenge) == (403, f'DPoP error="insufficient_scope", scope="{access.scope}"')


def _query(path: str) -> dict[str, int]:
    wanted = {routes.POLL: ("after",), routes.LOG_CONSISTENCY: ("first", "second"), routes.LOG_INCLUSION: ("index",)}
    return dict.fromkeys(wanted.get(path, ()), 1) | ({"size": 2} if path == routes.LOG_INCLUSION else {})


# -- made up


class Shown(AuthBase):
    """A new proof with each request, for `requests`."""

    def __init__(self, party: Party) -> None:
        self._party = party

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        assert request.url and request.method
        request.headers.update(self._party.shown(request.method, request.url.partition("?")[0]))
        request.register_hook("response", self._learn)
        return request

    def _learn(self, answer: requests.Response, **_: Any) -> None:
        self._party.nonce = answer.headers.get("DPoP-Nonce", self._party.nonce)


@schemathesis.serializer("application/jsonl")
def lines(ctx: Any, value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE], ids=["sound", "broken"])
@pytest.mark.parametrize("role", CALLERS)
def test_no_request_gets_an_incident_an_undescribed_answer_or_what_its_role_may_not_have(
    hub: HubProcess, consortium: Consortium, known: dict[str, Any], role: str, mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(hub.url + routes.OPENAPI)
    session, caller = requests.Session(), party(consortium, role)
    if caller is not None:
        caller.get(routes.SILOS)
        session.auth = Shown(caller)
    seen = set()
    for found in schema.get_all_operations():
        operation = found.ok()
        place = (operation.method.upper(), operation.path)
        seen.add(place)
        if mode is GenerationMode.NEGATIVE and not can_be_broken(operation.definition.raw):
            continue
        probe(operation, Probe(hub.url, session, role, mode, known, is_inside(PLACES[place], role)))
    assert seen == set(PLACES) - {("GET", routes.OPENAPI)}
    assert "incident" not in hub.logged()


def can_be_broken(described: dict[str, Any]) -> bool:
    """Not so a request whose parameters are any text, and whose body any bytes: every one is of the form described."""
    bounded = [one for one in described.get("parameters", ()) if set(one["schema"]) - {"type", "title"}]
    bounded += [one for one in described.get("parameters", ()) if one["schema"].get("type") != "string"]
    bodies = set(described.get("requestBody", {}).get("content", {}))
    return bool(bounded) or bool(bodies & {"application/json", "application/x-www-form-urlencoded"})


@dataclass(frozen=True, slots=True)
class Probe:
    url: str
    session: requests.Session
    role: str
    mode: GenerationMode
    known: dict[str, Any]
    inside: bool

    def check(self, case: Any, real: set[str], edge: int | None) -> None:
        """``real``: which parts of the path are of the study that is there; ``edge``: in place of each number."""
        numbers = dict.fromkeys(_numbers(case), edge) if edge is not None else {}
        case.path_parameters = {
            name: self.known[name] if name in real else numbers.get(name, value)
            for name, value in (case.path_parameters or {}).items()
        }
        case.query = {name: numbers.get(name, value) for name, value in (case.query or {}).items()}
        if case.operation.path == routes.POLL and case.query:
            case.query.pop("wait_s", None)  # a sound one is waited for
        answer = case.call(base_url=self.url, session=self.session)
        case.validate_response(answer, checks=CHECKS)
        if not self.inside:
            # 404, 405: what was made up isn't this route's path any more.
            assert answer.status_code in (401 if self.role == ANONYMOUS else 403, 404, 405), answer.status_code
        else:
            assert "insufficient_scope" not in str(answer.headers.get("www-authenticate"))
            assert answer.status_code != 401 or self.case_is_open(case), "the proof itself was refused"

    def case_is_open(self, case: Any) -> bool:
        return PLACES[case.operation.method.upper(), case.operation.path].is_open


def probe(operation: Any, probe: Probe) -> None:
    @settings(
        max_examples=EXAMPLES if probe.inside else 2,
        deadline=None,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(
        case=operation.as_strategy(generation_mode=probe.mode),
        real=st.sampled_from(({"study", "silo", "digest"}, set(probe.known), set())),
        edge=st.sampled_from(EDGES),
    )
    def one(case: Any, real: set[str], edge: int | None) -> None:
        probe.check(case, real, edge)

    one()


def _numbers(case: Any) -> list[str]:
    described = case.operation.definition.raw.get("parameters", ())
    return [one["name"] for one in described if one["schema"].get("type") == "integer"]
