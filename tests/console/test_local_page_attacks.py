"""Other users of the machine, and pages of other origins, get nothing from a local page and decide nothing on it."""

import asyncio
import base64
import re
import socket
import stat
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import pytest

from client.decision_page.conversation import Done
from client.decision_page.deciding import Choice, Decider, Deciding
from client.decision_page.guard import Guard
from client.decision_page.local_page import LocalPage, Setting, serve
from client.errors import NotDecided
from pages.local_requests import MAX_FORM_BYTES
from pages.loopback import bind_loopback
from protocol.decision import check_assertion, check_decision
from protocol.study import study_id
from tests.console.rig import CHARTER, CHARTER_MATTER, MATTER, STUDY, Drafts, charter_draft
from tests.security_key import SecurityKey, authenticator_data, client_data, text

HOST = "consortia-decision.localhost:49152"
HERE = {"host": HOST, "origin": f"http://{HOST}", "sec-fetch-site": "same-origin"}
KEY = SecurityKey.eddsa()


class Visitor:
    """Speaks HTTP to a page's application, with whatever headers and fields it likes."""

    def __init__(self, key=None, matter=MATTER, draft=None):
        self.drafts = Drafts(study_id(STUDY))
        deciding = Deciding(matter, Decider("ada", "Heart Consortium", key), draft or self.drafts)
        self.page = LocalPage(deciding, Guard(HOST))
        self.guard = self.page.guard
        self.transport = httpx.ASGITransport(self.page.app())

    def ask(self, method, path, headers=HERE, **more):
        async def once():
            async with httpx.AsyncClient(transport=self.transport, base_url=f"http://{HOST}") as http:
                return await http.request(method, path, headers=headers, **more)

        return asyncio.run(once())

    def get(self, path, **headers):
        return self.ask("GET", path, {**HERE, **headers})

    def post(self, what="answer", headers=None, **changes):
        fields = {"token": self.guard.token, "verdict": "approve", **changes}
        return self.ask("POST", f"/{self.guard.session}/{what}", {**HERE, **(headers or {})}, data=fields)


def test_the_visitor_can_approve_at_all():
    visitor = Visitor()
    assert visitor.post().status_code == 200
    assert visitor.page.done.value.choice == Choice("approve")


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1:49152",
        "localhost:49152",
        "consortia-decision.localhost",
        "consortia-decision.localhost:49153",
        "rebound.attacker.example:49152",
        f"{HOST}.attacker.example",
        HOST.upper(),
        "",
    ],
)
def test_a_name_that_was_rebound_to_this_machine_reaches_nothing(host):
    visitor = Visitor()
    for path in (f"/{visitor.guard.link}", f"/{visitor.guard.session}/", "/static/style.css"):
        assert visitor.get(path, host=host).status_code == 403
    assert visitor.post(headers={"host": host}).status_code == 403
    assert not visitor.guard.link_used and visitor.page.done is None


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://hub.example"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://consortia-decision.localhost:49153"},
        {"origin": f"https://{HOST}"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "none"},
    ],
)
def test_a_form_of_another_page_decides_nothing(headers):
    visitor = Visitor()
    for what in ("answer", "challenge"):
        answer = visitor.post(what, headers)
        assert answer.status_code == 403 and "Another page sent this" in answer.text
    assert visitor.page.done is None and visitor.drafts.made == []


def test_a_form_without_an_origin_decides_nothing():
    visitor = Visitor()
    headers = {name: value for name, value in HERE.items() if name != "origin"}
    fields = {"token": visitor.guard.token, "verdict": "approve"}
    assert visitor.ask("POST", f"/{visitor.guard.session}/answer", headers, data=fields).status_code == 403


@pytest.mark.parametrize("token", ["", "x", "é", "A" * 43])
def test_a_form_without_the_pages_token_decides_nothing(token):
    visitor = Visitor()
    assert visitor.post(token=token).status_code == 403
    assert visitor.post("challenge", token=visitor.guard.session).status_code == 403
    assert visitor.page.done is None


def test_a_form_that_is_too_long_doubled_or_no_form_decides_nothing():
    visitor = Visitor()
    path, token = f"/{visitor.guard.session}/answer", visitor.guard.token
    form = {**HERE, "content-type": "application/x-www-form-urlencoded"}
    bodies = {
        413: b"a=" + b"x" * MAX_FORM_BYTES,
        400: f"token={token}&verdict=close&verdict=approve".encode(),
    }
    for status, body in bodies.items():
        assert visitor.ask("POST", path, form, content=body).status_code == status
    for junk in (b"\xff=1", b"%ff=1", b"verdict", b"&".join(b"a%d=1" % one for one in range(20)), b""):
        assert visitor.ask("POST", path, form, content=junk).status_code in (400, 403)
    assert visitor.ask("POST", path, HERE, json={"token": token, "verdict": "approve"}).status_code == 415
    assert visitor.post(verdict="yes").status_code == 422
    assert visitor.page.done is None and visitor.drafts.made == []


def test_who_has_not_the_link_finds_nothing():
    visitor = Visitor()
    for path in ("/", "/x", f"/{visitor.guard.link[:-1]}", f"/{visitor.guard.token}/", "/x/", "/%ff/", "/é/", "/a/b/c"):
        assert visitor.get(path).status_code == 404
    for name in ("..%2ftemplates%2fbase.html", "base.html", "%2e%2e", ""):
        assert visitor.get(f"/static/{name}").status_code == 404
    assert visitor.ask("POST", "/x/answer", data={"verdict": "approve"}).status_code == 404
    assert visitor.ask("GET", f"/{visitor.guard.session}/answer").status_code == 404
    assert visitor.page.done is None and not visitor.guard.link_used


def test_the_link_works_once_and_a_browser_that_looks_ahead_does_not_spend_it():
    visitor = Visitor()
    link = f"/{visitor.guard.link}"
    assert visitor.get(link, **{"sec-purpose": "prefetch;prerender"}).status_code == 503
    first = visitor.get(link)
    assert first.status_code == 303 and first.headers["location"] == f"/{visitor.guard.session}/"
    second = visitor.get(link)
    assert second.status_code == 403 and "was opened before" in second.text
    assert visitor.guard.session not in second.text


def test_the_first_answer_counts_and_a_replay_or_another_tab_changes_nothing():
    visitor = Visitor()
    assert visitor.post().status_code == 200
    for again in (visitor.post(), visitor.post(verdict="object", reason="No."), visitor.post(verdict="close")):
        assert again.status_code == 403 and "answered already" in again.text
    assert visitor.get(f"/{visitor.guard.session}/").status_code == 403
    assert visitor.page.done.value.choice == Choice("approve") and len(visitor.drafts.made) == 1


def test_every_answer_forbids_framing_foreign_script_and_storing():
    visitor = Visitor()
    answers = [
        visitor.get(f"/{visitor.guard.session}/"),
        visitor.get("/x"),
        visitor.get("/a/b/c"),
        visitor.get("/static/style.css"),
        visitor.get(f"/{visitor.guard.link}"),
        visitor.post(token="x"),
        visitor.post(),
    ]
    for answer in answers:
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; ") and "frame-ancestors 'none'" in policy
        assert "unsafe" not in policy and "*" not in policy and "base-uri 'none'" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "same-origin"
        assert "set-cookie" not in answer.headers
    stored = [answer.headers["cache-control"] for answer in answers]
    assert stored == ["no-store"] * 3 + ["private, max-age=900"] + ["no-store"] * 3


def asserted(visitor, asked, key=KEY, **changes):
    """The fields of a touch for the challenge in ``asked``."""
    raw = client_data("webauthn.get", base64.b64decode(asked["challenge"]), origin=f"http://{HOST}")
    made = key.answer(authenticator_data(), raw)
    return {**made.model_dump(), **changes}


def test_a_touch_for_one_choice_serves_for_no_other():
    visitor = Visitor(KEY.public)
    asked = visitor.post("challenge").json()
    assert asked["credential"] == KEY.public.credential
    touched = asserted(visitor, asked)
    assert visitor.post(verdict="object", reason="No.", **touched).status_code == 422
    assert visitor.page.done is None
    assert visitor.post(**touched).status_code == 200
    check_decision(visitor.page.done.value.body, KEY.public)


def test_an_old_touch_serves_for_no_later_challenge():
    visitor = Visitor(KEY.public)
    old = asserted(visitor, visitor.post("challenge").json())
    visitor.post("challenge")
    answer = visitor.post(**old)
    assert answer.status_code == 422 and "challenge is for another decision" in answer.text
    other_page = Visitor(KEY.public)
    assert other_page.post(**old).status_code == 422


def test_a_security_key_in_the_charter_can_not_be_left_out_or_replaced():
    visitor = Visitor(KEY.public)
    asked = visitor.post("challenge").json()
    touched = asserted(visitor, asked)
    spoilt = [
        {},
        {**touched, "signature": ""},
        {**touched, "signature": "?"},
        {**touched, "signature": text(bytes(64))},
        {**touched, "client_data": "A" * 3000},
        asserted(visitor, asked, SecurityKey.eddsa(8)),
        asserted(visitor, asked, SecurityKey.es256()),
    ]
    for fields in spoilt:
        assert visitor.post(**fields).status_code == 422
    assert visitor.page.done is None


def test_a_charter_is_signed_with_a_touch_for_that_very_charter_and_can_not_be_objected_to():
    visitor = Visitor(KEY.public, CHARTER_MATTER, charter_draft)
    assert 'value="object"' not in visitor.get(f"/{visitor.guard.session}/").text
    for what in ("answer", "challenge"):
        assert visitor.post(what, verdict="object", reason="No.").status_code == 422
    assert visitor.post(**asserted(visitor, visitor.post("challenge").json())).status_code == 200
    signed = visitor.page.done.value.body
    check_assertion(signed.assertion, KEY.public, "charter", CHARTER.encode())


def test_who_has_no_security_key_is_asked_for_none():
    assert Visitor().post("challenge").status_code == 422


def test_nothing_that_people_wrote_becomes_markup():
    visitor = Visitor()
    shown = visitor.get(f"/{visitor.guard.session}/").text
    assert "<script>alert(1)" not in shown and "&lt;script&gt;alert(1)" in shown
    shown = visitor.post(verdict="object", reason='"><img src=x onerror=alert(1)>\u202e').text
    assert "<img" not in shown
    shown = visitor.post(verdict="object", reason='"><img src=x onerror=alert(1)>').text
    assert "<img" not in shown and "&lt;img" in shown


def test_the_secrets_stand_in_no_repr_and_differ():
    guard = Guard(HOST)
    assert len({guard.link, guard.session, guard.token}) == 3
    assert all(one not in repr(guard) and len(one) >= 43 for one in (guard.link, guard.session, guard.token))


def test_the_page_listens_on_this_machine_only_and_on_both_of_its_addresses():
    loopback = bind_loopback("localhost")
    try:
        assert loopback.sockets[0].getsockname()[0] == "127.0.0.1"
        assert {one.getsockname()[0] for one in loopback.sockets} <= {"127.0.0.1", "::1"}
        assert {one.getsockname()[1] for one in loopback.sockets} == {loopback.port}
        if len(loopback.sockets) == 2:
            with socket.socket(socket.AF_INET6) as other, pytest.raises(OSError):
                other.bind(("::1", loopback.port))
    finally:
        loopback.close()


def test_the_browser_is_started_with_a_private_file_and_never_with_the_link():
    seen = {}

    def opened(address):
        path = Path(unquote(urlsplit(address).path))
        seen["file"], seen["text"] = path, path.read_text()
        seen["modes"] = (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode))
        seen["address"] = address

    class Closing:
        def answer(self, fields):
            return Done("", None)

    links = []
    with pytest.raises(NotDecided, match="not answered"):
        serve(Closing(), Setting(links.append, opened, 0.01))
    secret = links[0].rsplit("/", 1)[1]
    assert re.fullmatch(r"http://consortia-decision\.localhost:[0-9]+/[A-Za-z0-9_-]{43}", links[0])
    assert seen["address"].startswith("file:///") and secret not in seen["address"] and secret in seen["text"]
    assert seen["modes"] == (0o600, 0o700) and not seen["file"].parent.exists()
