"""The table of routes and the hub's routes are one and the same, or the hub does not start."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from fastapi import APIRouter, FastAPI

from hub.__main__ import create
from hub.api import openapi
from hub.api.admission import access_of, asked_of, check_routes
from hub.app import make_app
from hub.config.settings import load
from hub.errors import InvalidProof, SetupRefused
from protocol import authority
from protocol.authority import ROLES, ROUTES, Access, scopes_of
from protocol.dpop import Asked


class Idle:
    """An aggregator that adds nothing."""

    def start(self, _: Any) -> None: ...

    def close(self) -> None: ...


def app(folder: Path) -> FastAPI:
    create(folder, "Test")
    aggregator: Any = Idle()
    return make_app(load(folder), aggregator)


def test_a_route_that_the_table_lacks_stops_the_hub_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(ROUTES, ("GET", "/v1/silos"))
    with pytest.raises(SetupRefused, match=r"/v1/silos: protocol/authority.py doesn't say who may call it"):
        app(tmp_path / "hub")


def test_a_row_without_a_route_stops_the_hub_from_starting(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(ROUTES, ("DELETE", "/v1/silos"), Access("silos:write", frozenset({"admin"})))
    with pytest.raises(SetupRefused, match=r"names routes that the hub doesn't have: .*DELETE"):
        app(tmp_path / "hub")


def test_a_route_whose_answers_are_not_described_stops_the_hub_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(openapi.DESCRIBED, ("GET", "/v1/silos"))
    with pytest.raises(SetupRefused, match=r"GET /v1/silos: hub/api/openapi\.py"):
        app(tmp_path / "hub")


def test_the_hubs_own_routes_have_rows(tmp_path: Path) -> None:
    made = app(tmp_path / "hub")
    described = made.openapi()["paths"]
    found = {(method.upper(), path) for path, one in described.items() for method in one}
    # OpenAPI has no name for a parameter that spans slashes.
    rows = {(method, path.replace(":path}", "}")): access for (method, path), access in ROUTES.items()}
    assert found | {("GET", "/openapi.json")} == set(rows)
    for method, path in found:
        operation, access = described[path][method.lower()], rows[method, path]
        assert operation.get("x-roles", []) == sorted(access.roles)
        assert ("401" in operation["responses"]) == (not access.is_open or path == "/v1/tokens")
        assert "422" not in operation["responses"]


def test_one_route_for_two_methods_with_different_rows_is_refused() -> None:
    router = APIRouter()
    router.add_api_route("/v1/charter", lambda: None, methods=["GET", "DELETE"])
    with pytest.raises(SetupRefused, match="/v1/charter"):
        check_routes([router])
    with pytest.raises(SetupRefused):
        access_of(SimpleNamespace(path="/v1/silos", methods=set()))  # type: ignore[arg-type]


def test_a_router_with_a_mounted_application_is_refused() -> None:
    router = APIRouter()
    router.mount("/files", FastAPI())
    with pytest.raises(SetupRefused, match="routes are those"):
        check_routes([router])


def test_an_open_route_has_no_scope_and_every_other_has_one() -> None:
    for access in ROUTES.values():
        assert access.is_open == (access.scope == "")


def test_an_officer_only_reads_and_a_scope_belongs_to_the_same_roles_everywhere() -> None:
    assert all(scope.endswith(":read") for scope in scopes_of("officer"))
    roles: dict[str, frozenset[str]] = {}
    for access in ROUTES.values():
        assert roles.setdefault(access.scope, access.roles) == access.roles
    assert set(ROLES) == {"silo", "admin", "researcher", "officer"}
    assert set(authority.SPEAKERS.values()) <= {*ROLES, "hub"}


def request(host: str, scheme: str = "http") -> Any:
    scope = {"scheme": scheme, "path": "/v1/silos"}
    return SimpleNamespace(headers={"host": host}, scope=scope, method="GET")


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "127.0.0.1@evil.example", "", "[::1", "a:b"]
)
def test_a_hub_without_a_public_address_believes_no_host_but_loopback(host: str) -> None:
    with pytest.raises(InvalidProof, match="public_origin"):
        asked_of(request(host), "")
    assert asked_of(request(host), "https://hub.example").origin == "https://hub.example"


def test_on_loopback_the_address_is_that_of_the_request() -> None:
    assert asked_of(request("127.0.0.1:8700"), "") == Asked("GET", "http://127.0.0.1:8700", "/v1/silos")
    assert asked_of(request("LOCALHOST:443", "https"), "").origin == "https://localhost"
