import hashlib
import json
import time

import httpx
import jwt
import pytest

from protocol import routes
from protocol.dpop import Asked, check_proof, read_proof, thumbprint
from protocol.tokens import ASSERTION_TYPE
from silo_node.errors import ConfigRefused, HubDistrusted, HubRefused, HubUnreachable
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.retry import Backoff
from silo_node.hub_client.session import HubSession, checked_url

AUDIENCE = "consortia-hub:test.example/log"
TOKEN = {"access_token": "t", "token_type": "DPoP", "expires_in": 300, "scope": "log:read"}


class Hub:
    """Answers like a hub; ``script`` maps a path to a list of responses, the last one repeated."""

    def __init__(self, **script):
        self.script = script
        self.token_answers = []
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        if request.url.path == routes.TOKENS:
            return self.token_answers.pop(0) if self.token_answers else httpx.Response(200, json=TOKEN)
        answers = self.script["answers"]
        return answers.pop(0) if len(answers) > 1 else answers[0]


def session(tmp_path, hub, attempts=3):
    pauses = []
    backoff = Backoff(attempts, 0.1, 5.0, pauses.append, lambda: 1.0)
    made = HubSession("https://hub.example", Identity.create("alpha", tmp_path), AUDIENCE, 5.0, backoff)
    made._http = httpx.Client(base_url="https://hub.example", transport=httpx.MockTransport(hub))
    return made, pauses


def test_a_token_is_asked_for_with_a_signed_assertion_once_and_then_kept(tmp_path):
    hub = Hub(answers=[httpx.Response(200, json={"indices": [4]})])
    made, _ = session(tmp_path, hub)
    assert made.post([]) == (4,)
    made.post([])
    tokens = [request for request in hub.requests if request.url.path == routes.TOKENS]
    assert len(tokens) == 1
    form = dict(part.split("=", 1) for part in tokens[0].content.decode().split("&"))
    assert ASSERTION_TYPE in httpx.QueryParams(tokens[0].content.decode())["client_assertion_type"]
    key = Identity.load("alpha", tmp_path).signing.public_key()
    claims = jwt.decode(form["client_assertion"], key, algorithms=["EdDSA"], audience=AUDIENCE)
    assert claims["iss"] == claims["sub"] == "silo:alpha"
    assert claims["exp"] - claims["iat"] <= 60
    assert claims["cnf"]["jkt"] == read_proof(tokens[0].headers["DPoP"]).thumbprint


def test_a_hub_that_is_away_is_asked_again_with_growing_pauses(tmp_path):
    hub = Hub(answers=[httpx.Response(503), httpx.Response(502), httpx.Response(200, json={"indices": []})])
    made, pauses = session(tmp_path, hub)
    assert made.post([]) == ()
    assert pauses == [0.1, 0.2]


def test_a_hub_that_stays_away_is_reported_as_such(tmp_path):
    made, _ = session(tmp_path, Hub(answers=[httpx.Response(503)]))
    with pytest.raises(HubUnreachable):
        made.post([])


def test_a_refusal_is_final_and_tells_the_hubs_reason(tmp_path):
    problem = {"type": "consortia:conflict", "title": "Conflict", "status": 409, "detail": "too late", "incident": None}
    hub = Hub(answers=[httpx.Response(409, content=json.dumps(problem))])
    made, pauses = session(tmp_path, hub)
    with pytest.raises(HubRefused, match="too late") as refused:
        made.post([])
    assert refused.value.status == 409
    assert pauses == []


def test_an_expired_token_is_renewed_and_the_call_made_once_more(tmp_path):
    hub = Hub(answers=[httpx.Response(401), httpx.Response(200, json={"indices": [1]})])
    made, _ = session(tmp_path, hub)
    assert made.post([]) == (1,)
    assert sum(request.url.path == routes.TOKENS for request in hub.requests) == 2


def problem(kind, nonce=None):
    content = {"type": f"consortia:{kind}", "title": "No", "status": 401, "detail": "no", "incident": None}
    return httpx.Response(401, json=content, headers={"DPoP-Nonce": nonce} if nonce else {})


def proofs(hub, path=routes.STATEMENTS):
    return [read_proof(request.headers["DPoP"]) for request in hub.requests if request.url.path == path]


def test_every_request_has_a_proof_of_its_own_for_its_address_and_token_and_none_by_the_identity_key(tmp_path):
    hub = Hub(answers=[httpx.Response(200, json={"digests": []})])
    made, _ = session(tmp_path, hub)
    made.received_chunks("a" * 64, 3, 2)
    made.received_chunks("a" * 64, 3, 2)
    path = routes.CHUNKS.format(study="a" * 64, round=3, attempt=2)
    first, second = proofs(hub, path)
    assert first.identifier != second.identifier
    assert first.thumbprint == second.thumbprint == proofs(hub, routes.TOKENS)[0].thumbprint
    assert first.thumbprint != thumbprint(Identity.load("alpha", tmp_path).signing.public_key().public_bytes_raw())
    for one in (first, second):
        check_proof(one, Asked("GET", "https://hub.example", path), time.time(), "t")
    assert all(request.headers["Authorization"] == "DPoP t" for request in hub.requests[1:])


def test_the_hubs_nonce_is_taken_at_once_and_the_call_made_once_more(tmp_path):
    hub = Hub(answers=[problem("use-dpop-nonce", "n1"), httpx.Response(200, json={"indices": []})])
    hub.token_answers = [problem("use-dpop-nonce", "n0")]
    made, pauses = session(tmp_path, hub)
    made.post([])
    made.post([])
    assert [one.nonce for one in proofs(hub, routes.TOKENS)] == [None, "n0"]
    assert [one.nonce for one in proofs(hub)] == ["n0", "n1", "n1"]
    assert pauses == []


def test_a_new_nonce_in_a_good_answer_is_used_from_then_on(tmp_path):
    answer = httpx.Response(200, json={"indices": []}, headers={"DPoP-Nonce": "n2"})
    made, _ = session(tmp_path, hub := Hub(answers=[answer, answer]))
    made.post([])
    made.post([])
    assert [one.nonce for one in proofs(hub)] == [None, "n2"]


def test_a_hub_that_always_asks_for_another_nonce_or_token_is_left_alone(tmp_path):
    for kind, calls in (("use-dpop-nonce", 2), ("unauthenticated", 2), ("invalid-dpop-proof", 1)):
        made, pauses = session(tmp_path, hub := Hub(answers=[problem(kind, "n1")]))
        with pytest.raises(HubRefused) as refused:
            made.post([])
        assert (refused.value.status, len(proofs(hub)), pauses) == (401, calls, [])


@pytest.mark.parametrize("body", [b"", b"[]", b'{"indices":["a"]}', b'{"indices":[1],"more":1}'])
def test_an_answer_out_of_form_is_not_believed(tmp_path, body):
    made, _ = session(tmp_path, Hub(answers=[httpx.Response(200, content=body)]))
    with pytest.raises(HubDistrusted):
        made.post([])


def test_a_chunk_travels_with_the_digest_of_its_bytes(tmp_path):
    import base64

    hub = Hub(answers=[httpx.Response(204)])
    made, _ = session(tmp_path, hub)
    made.put_chunk("a" * 64, 3, 1, 7, b"sealed")
    request = hub.requests[-1]
    expected = base64.b64encode(hashlib.sha256(b"sealed").digest()).decode()
    assert request.headers["Content-Digest"] == f"sha-256=:{expected}:"
    assert request.url.path.endswith("/rounds/3/attempts/1/chunks/7")


def test_the_chunks_that_the_hub_holds_are_told_by_position(tmp_path):
    held = ["c" * 64, None, "d" * 64]
    hub = Hub(answers=[httpx.Response(200, json={"digests": held})])
    made, _ = session(tmp_path, hub)
    assert made.received_chunks("a" * 64, 3, 2) == tuple(held)
    assert hub.requests[-1].method == "GET"
    assert hub.requests[-1].url.path == routes.CHUNKS.format(study="a" * 64, round=3, attempt=2)


@pytest.mark.parametrize("answer", [{"digests": ["short"]}, {"digests": {"0": "c" * 64}}, {"digests": [0]}, {}])
def test_a_list_of_chunks_in_another_form_is_distrusted(tmp_path, answer):
    made, _ = session(tmp_path, Hub(answers=[httpx.Response(200, json=answer)]))
    with pytest.raises(HubDistrusted, match="protocol's form"):
        made.received_chunks("a" * 64, 0, 1)


def test_a_sum_longer_than_it_can_be_is_refused(tmp_path):
    made, _ = session(tmp_path, Hub(answers=[httpx.Response(200, content=b"x" * 11)]))
    with pytest.raises(HubDistrusted, match="11 bytes"):
        made.get_sum("a" * 64, 0, 1, 0, 10)


@pytest.mark.parametrize("ask", ["get_sum", "get_shares"])
def test_an_answer_without_end_is_left_at_the_bytes_that_were_asked_for(tmp_path, ask):
    read = []

    def endless():
        while len(read) < 100:
            read.append(1)
            yield bytes(1 << 16)
        raise AssertionError("all of it was read")

    made, _ = session(tmp_path, Hub(answers=[httpx.Response(200, content=endless())]))
    given = {"get_sum": (0, 100_000), "get_shares": ("bravo", 100_000)}[ask]
    with pytest.raises(HubDistrusted, match="more than 100000 bytes"):
        getattr(made, ask)("a" * 64, 0, 1, *given)
    assert len(read) < 10


def test_a_refusal_of_a_small_thing_is_read_to_its_end(tmp_path):
    problem = {"type": "consortia:x", "title": "Gone", "status": 404, "detail": "y" * 1000, "incident": None}
    made, _ = session(tmp_path, Hub(answers=[httpx.Response(404, content=json.dumps(problem))]))
    with pytest.raises(HubRefused, match="yyyy"):
        made.get_sum("a" * 64, 0, 1, 0, 10)


@pytest.mark.parametrize(
    "url", ["http://hub.example", "ftp://hub.example", "hub.example", "http://127.0.0.1.evil.example"]
)
def test_plain_http_to_another_machine_is_refused(url):
    with pytest.raises(ConfigRefused):
        checked_url(url)
    assert checked_url("http://127.0.0.1:8700/") == "http://127.0.0.1:8700"


def test_keys_are_private_kept_on_a_second_join_and_refused_when_others_can_read_them(tmp_path):
    first = Identity.create("alpha", tmp_path)
    assert Identity.create("alpha", tmp_path).words == first.words
    assert "signing" not in repr(first) and "receiving" not in repr(first)
    for name in ("signing", "receiving"):
        assert (tmp_path / "keys" / name).stat().st_mode & 0o077 == 0
    (tmp_path / "keys" / "signing").chmod(0o644)
    with pytest.raises(ConfigRefused, match="chmod 600"):
        Identity.load("alpha", tmp_path)
