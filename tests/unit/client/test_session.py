"""A person's calls: one token, a proof with each, and what the hub's 401 makes of them."""

import json
from typing import Any
from urllib.parse import parse_qs

import httpx
import pytest
from pydantic import TypeAdapter

from client.errors import HubRefused, UsageRefused
from client.keys import new_identity
from client.session import HubSession, open_http
from protocol import routes
from protocol.dpop import Asked, check_proof, read_proof
from protocol.tokens import read_assertion
from tests.unit.client.conftest import TOKEN_ANSWER

AUDIENCE, ANY = "consortia-hub:test/log", TypeAdapter(Any)


class Hub:
    """Gives the scripted answers to all but token requests, the last one again and again."""

    def __init__(self, *answers: httpx.Response) -> None:
        self.answers, self.tokens = list(answers), [httpx.Response(200, json=TOKEN_ANSWER)]
        self.seen: list[httpx.Request] = []
        self.ada = new_identity("ada")
        http = open_http("https://hub.example", httpx.MockTransport(self.handle))
        self.session = HubSession(http, self.ada, AUDIENCE, clock=lambda: 1000.0, pause=lambda _: None)

    def handle(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request)
        script = self.tokens if request.url.path == routes.TOKENS else self.answers
        return script.pop(0) if len(script) > 1 else script[0]

    def nonces(self, path: str = routes.STUDIES) -> list[str | None]:
        return [read_proof(one.headers["DPoP"]).nonce for one in self.seen if one.url.path == path]


def refusal(kind: str, nonce: str = "") -> httpx.Response:
    content = {"type": f"consortia:{kind}", "title": "No", "status": 401, "detail": "no"}
    return httpx.Response(401, content=json.dumps(content), headers={"DPoP-Nonce": nonce} if nonce else {})


GOOD = httpx.Response(200, json=[])


def test_each_call_has_a_proof_for_its_address_and_the_one_token() -> None:
    hub = Hub(GOOD)
    hub.session.get(routes.STUDIES, ANY, {"x": "1"})
    hub.session.get(routes.STUDIES, ANY)
    asked, first, second = hub.seen
    form = {name: values[0] for name, values in parse_qs(asked.content.decode()).items()}
    shown = read_assertion(form["client_assertion"], lambda _: hub.ada.card.signing_key, AUDIENCE, 1000.0)
    for one in (first, second):
        proof = read_proof(one.headers["DPoP"])
        check_proof(proof, Asked("GET", "https://hub.example", routes.STUDIES), 1000.0, "token")
        assert (one.headers["Authorization"], proof.thumbprint) == ("DPoP token", shown.thumbprint)
    assert first.headers["DPoP"] != second.headers["DPoP"]


def test_the_hubs_nonce_is_taken_for_token_and_call_without_a_pause() -> None:
    hub = Hub(refusal("use-dpop-nonce", "n1"), GOOD)
    hub.tokens.insert(0, refusal("use-dpop-nonce", "n0"))
    hub.session.get(routes.STUDIES, ANY)
    assert hub.nonces(routes.TOKENS) == [None, "n0"]
    assert hub.nonces() == ["n0", "n1"]


@pytest.mark.parametrize(("kind", "calls"), [("use-dpop-nonce", 2), ("unauthenticated", 2), ("invalid-dpop-proof", 1)])
def test_a_hub_that_goes_on_refusing_is_left_alone(kind: str, calls: int) -> None:
    hub = Hub(refusal(kind, "n1"))
    with pytest.raises(HubRefused):
        hub.session.get(routes.STUDIES, ANY)
    assert len(hub.nonces()) == calls


def test_what_needs_no_token_shows_none_and_nobody_has_no_token() -> None:
    hub = Hub(GOOD)
    hub.session.get_public(routes.CHARTER)
    assert not {"authorization", "dpop"} & set(hub.seen[0].headers)
    nobody = HubSession(hub.session.http)
    with pytest.raises(UsageRefused, match="needs a key"):
        nobody.get(routes.STUDIES, ANY)
