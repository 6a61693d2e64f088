"""Errors as problems: each class has one status, unknown ones tell nothing."""

import inspect

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from hub import errors
from hub.api import problems
from hub.errors import Refused
from protocol.problems import Problem


def test_every_refusal_has_a_row_in_the_table() -> None:
    for _, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, Refused) and kind is not Refused:
            problem = problems.problem_of(kind("why"))
            assert 400 <= problem.status < 500
            assert problem.detail == "why"


def test_an_unknown_error_becomes_a_bare_500_with_an_incident_number(capsys: pytest.CaptureFixture[str]) -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/broken")
    def broken() -> None:
        raise RuntimeError("patient 4711")

    answer = TestClient(app, raise_server_exceptions=False).get("/broken")
    problem = Problem.model_validate(answer.json())
    assert (answer.status_code, problem.type) == (500, "consortia:internal")
    assert problem.incident is not None
    output = capsys.readouterr()
    assert "4711" not in answer.text + output.out + output.err
    assert problem.incident in output.out + output.err


def test_a_missing_route_is_a_problem_too() -> None:
    app = FastAPI()
    problems.install(app)
    answer = TestClient(app).get("/nowhere")
    assert (answer.status_code, answer.json()["type"]) == (404, "consortia:not-found")
    assert answer.headers["content-type"] == "application/problem+json"
