"""What anybody may send is limited by address; those who have a token are not concerned."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from protocol import routes
from protocol.problems import CONTENT_TYPE
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.silo import FakeSilo

TOKENS, ENROLMENTS = 4, 3


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(
        tmp_path / "hub",
        tokens_per_minute=str(TOKENS),
        enrolments_per_minute=str(ENROLMENTS),
        behind_proxy="true",
    )
    process.start()
    yield process
    process.stop()


def refused_after(send: "Iterator[httpx.Response]", limit: int) -> httpx.Response:
    """The first refusal for being too often. A minute may end in between, and start the count anew, once."""
    for count, answer in enumerate(send):
        if answer.status_code == 429:
            assert limit <= count <= 2 * limit
            return answer
        assert count <= 2 * limit
    raise AssertionError("unreachable")


def test_enrolments_and_tokens_of_one_address_are_limited_and_the_answer_says_for_how_long(limited: HubProcess) -> None:
    consortium = Consortium(limited.url, limited.card)
    consortium.found()
    officer = consortium.officer
    assert officer.token
    silo = FakeSilo("ada", limited.url, limited.card)
    silo.http.headers["X-Forwarded-For"] = "192.0.2.7"
    silo.nonce = officer.nonce  # or the hub would ask for it, with an answer that counts too

    def enrolments() -> Iterator[httpx.Response]:
        while True:
            yield consortium.enrol(silo, "0" * 22)

    def tokens() -> Iterator[httpx.Response]:
        while True:
            yield silo.ask_token(silo.assertion())

    for send, limit in ((enrolments(), ENROLMENTS), (tokens(), TOKENS)):
        answer = refused_after(send, limit)
        assert answer.headers["content-type"] == CONTENT_TYPE
        assert (answer.json()["type"], answer.json()["status"]) == ("consortia:too-often", 429)
        assert 1 <= int(answer.headers["retry-after"]) <= 61
    # Another address, which the proxy on this machine names, is not concerned; nor is who has a token.
    silo.http.headers["X-Forwarded-For"] = "192.0.2.8"
    assert consortium.enrol(silo, "0" * 22).status_code == 403
    for _ in range(2 * TOKENS):
        assert httpx.get(limited.url + routes.POLL, params={"after": 0}, auth=officer.auth).status_code == 200


def test_without_a_proxy_nobody_chooses_the_address_that_is_counted(tmp_path: Path) -> None:
    hub = HubProcess(tmp_path / "hub", enrolments_per_minute=str(ENROLMENTS))
    hub.start()

    def enrolments() -> Iterator[httpx.Response]:
        for number in range(100):
            forged = {"X-Forwarded-For": f"192.0.2.{number}"}
            yield httpx.post(hub.url + routes.ENROLMENTS, content=b"{}", headers=forged)

    try:
        assert refused_after(enrolments(), ENROLMENTS).status_code == 429
    finally:
        hub.stop()
