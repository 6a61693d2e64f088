"""Nobody but the owner's own browser gets anything from the console, and no old or foreign form decides anything."""

import re
from datetime import timedelta
from urllib.parse import urlsplit

import pytest

from pages.local_requests import MAX_FORM_BYTES
from protocol.errors import Malformed
from protocol.study_statements import StudyObjected
from silo_node.console.sessions import IDLE, LINK_LIVES, LONGEST
from tests.console.http_rig import HOST, Browser
from tests.console.owner_rig import make_owner, propose
from tests.sample_study import consortium, contract

REBOUND = ["127.0.0.1:8471", "localhost", "localhost:8472", "rebound.attacker.example:8471", f"{HOST}.x.example", ""]


@pytest.fixture(scope="module")
def group():
    return consortium()


@pytest.fixture
def node(group, tmp_path):
    made = make_owner(tmp_path / "silo", group)
    yield made
    made.close()


@pytest.fixture
def browser(node):
    made = Browser(node)
    made.enter()
    return made


@pytest.fixture
def peers(node):
    return propose(node)


def decisions(node):
    return [note.what for note in node.notes if note.what.startswith("owner: ")]


def test_the_browser_can_approve_at_all_and_a_double_submit_changes_nothing(node, browser, peers):
    fields = browser.form(peers.study, "accept")
    assert [browser.post(peers.study, fields).status_code for _ in range(3)] == [303, 303, 303]
    assert decisions(node) == ["owner: accept"]
    node.go()
    assert browser.post(peers.study, fields).status_code == 303
    assert decisions(node) == ["owner: accept"]


@pytest.mark.parametrize("host", REBOUND)
def test_a_name_that_was_rebound_to_this_machine_reaches_nothing(node, browser, peers, host):
    link = browser.sessions.new_link()
    fields = browser.form(peers.study, "accept")
    for path in (f"/in/{link}", f"{browser.place}/", "/static/console.css", "/"):
        assert browser.ask("GET", path, {"host": host}).status_code == 403
    assert browser.post(peers.study, fields, host=host).status_code == 403
    assert browser.enter(link).status_code == 200 and decisions(node) == []


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:8472"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "cross-site"},
        {"content-type": "text/plain"},
    ],
)
def test_a_form_that_another_page_sends_decides_nothing(node, browser, peers, headers):
    fields = browser.form(peers.study, "accept")
    refused = browser.ask("POST", f"{browser.place}/requests/{peers.study}", headers, data=fields)
    assert refused.status_code in (403, 415) and "Nothing was decided" in refused.text
    out = browser.ask("POST", f"{browser.place}/out", headers, data={"token": fields["token"]})
    assert out.status_code in (403, 415) and browser.get().status_code == 200
    assert decisions(node) == []


def test_a_form_needs_the_token_of_its_own_session(node, browser, peers):
    other = Browser(node)
    other.sessions = browser.sessions
    other.transport = browser.transport
    other.enter()
    fields = browser.form(peers.study, "accept")
    for token in ("", "x", other.form(peers.study, "accept")["token"]):
        assert browser.post(peers.study, {**fields, "token": token}).status_code == 403
    assert browser.post(peers.study, {**fields, "filling": "x" * MAX_FORM_BYTES}).status_code == 413
    assert decisions(node) == []


def test_a_session_needs_its_cookie_and_its_path_and_not_those_of_two_sessions(browser):
    first, place = browser.cookie, browser.place
    browser.enter()
    assert browser.get().status_code == 200
    second = browser.cookie
    browser.cookie = first
    assert browser.get().status_code == 401
    browser.cookie = ""
    assert browser.get().status_code == 401
    browser.cookie, browser.place = second, place
    assert browser.get().status_code == 401
    browser.place = "/" + "x" * 43
    assert browser.get().status_code == 401


def test_the_cookie_is_out_of_reach_of_scripts_other_sites_and_other_ports(browser):
    said = browser.enter(browser.sessions.new_link()).headers["set-cookie"]
    assert "HttpOnly" in said and "SameSite=strict" in said and f"Path={browser.place}/" in said
    assert "Domain" not in said and "Max-Age" not in said


def test_a_link_opens_once_for_five_minutes_and_a_newer_one_ends_it(node):
    browser = Browser(node)
    link = browser.sessions.new_link()
    assert browser.ask("GET", f"/in/{link}", {"sec-purpose": "prefetch"}).status_code == 503
    assert browser.enter(link).status_code == 200
    assert browser.enter(link).status_code == 401
    old, new = browser.sessions.new_link(), browser.sessions.new_link()
    assert (browser.enter(old).status_code, browser.enter(new).status_code) == (401, 200)
    late = browser.sessions.new_link()
    browser.now += LINK_LIVES + timedelta(seconds=1)
    assert browser.enter(late).status_code == 401
    assert browser.enter("x" * 43).status_code == 401


def test_a_session_ends_when_it_rests_and_after_a_working_day_and_decides_nothing_then(node, browser, peers):
    fields = browser.form(peers.study, "accept")
    browser.now += IDLE
    assert browser.get().status_code == 200
    browser.now += IDLE + timedelta(seconds=1)
    ended = browser.post(peers.study, fields)
    assert ended.status_code == 401 and "Nothing was decided" in ended.text and decisions(node) == []
    browser.enter()
    began = browser.now
    while browser.now - began < LONGEST - IDLE:
        browser.now += IDLE
        assert browser.get("/node").status_code == 200
    browser.now = began + LONGEST + timedelta(seconds=1)
    assert browser.get().status_code == 401


def test_who_signed_out_can_not_be_followed_by_the_old_cookie(node, browser, peers):
    fields = browser.form(peers.study, "accept")
    browser.ask("POST", f"{browser.place}/out", data={"token": fields["token"]})
    assert browser.get().status_code == 401
    assert browser.post(peers.study, fields).status_code == 401 and decisions(node) == []


def test_a_page_of_another_contract_approves_nothing(node, browser, peers):
    other = propose(node, title="Another study")
    fields = browser.form(other.study, "accept")
    refused = browser.post(peers.study, fields)
    assert refused.status_code == 409 and "another contract" in refused.text
    for name in ("digest", "shown"):
        kept = {key: value for key, value in browser.form(peers.study, "accept").items() if key != name}
        assert browser.post(peers.study, kept).status_code == 409
    assert decisions(node) == []


def spend_elsewhere(node, peers):
    from protocol.spend import Gaussian
    from silo_node.ledger.caps import Use

    event = Gaussian(kind="gaussian", noise_multiplier=9.0, count=1, unit="record")
    node.silo.ledger.reserve("patients", f"{'a' * 64}:0", [event], Use("heart", "a" * 64, ("grace",)))


def object_now(node, peers):
    peers.say(StudyObjected, "person:ada", reason="We have to talk.", assertion=None)
    node.go()


def change_the_policy(node, peers):
    policy = node.folder / "policy.cedar"
    policy.write_text(policy.read_text() + "// another text\n")


@pytest.mark.parametrize("change", [spend_elsewhere, object_now, change_the_policy])
def test_what_changed_since_the_page_was_shown_can_not_be_approved_by_it(node, browser, peers, change):
    fields = browser.form(peers.study, "accept")
    change(node, peers)
    stale = browser.post(peers.study, fields)
    assert stale.status_code == 409 and "Something changed" in stale.text and decisions(node) == []


def test_a_yes_is_not_offered_nor_taken_where_the_policy_refuses(node, browser):
    peers = propose(node, title="Claims", purpose="fraud-detection")
    page = browser.get(f"/requests/{peers.study}").text
    assert "purpose-allowed" in page and "Approve exactly this" not in page
    early = propose(node, approved=False)
    fields = browser.form(early.study, "refuse")
    assert "Approve exactly this" not in browser.get(f"/requests/{early.study}").text
    assert browser.post(early.study, {**fields, "choice": "accept"}).status_code == 409
    assert browser.post(early.study, {**fields, "choice": "release"}).status_code == 409
    assert browser.post(early.study, {**fields, "choice": "anything"}).status_code == 400
    assert decisions(node) == []


def test_every_answer_forbids_scripts_frames_and_keeping(browser, peers):
    for path in ("/", f"/requests/{peers.study}", "/datasets", "/ledger", "/journal", "/node", "/no/such/page"):
        headers = browser.get(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "frame-ancestors 'none'" in policy and "unsafe" not in policy
        assert "script-src" not in policy and headers["cache-control"] == "no-store"
        assert headers["x-content-type-options"] == "nosniff" and headers["x-frame-options"] == "DENY"


def test_hostile_texts_of_a_contract_are_shown_as_letters(node, browser):
    title = "<script>alert(1)</script>\" onload='x' {{ 7 * 7 }} עברית"
    peers = propose(node, title=title, description="</pre><img src=x onerror=alert(1)>")
    for path in ("/", f"/requests/{peers.study}"):
        page = browser.get(path).text
        assert "<script" not in page and "<img" not in page and "&lt;script&gt;alert(1)" in page
        assert "49" not in re.findall(r"<h1>.*</h1>", page)[0] and "<bdi>&lt;script&gt;" in page
    with pytest.raises(Malformed):
        contract(title="ab\u202edc")  # what reorders letters can't stand in a contract at all


def test_what_fails_inside_is_shown_as_an_incident_and_without_its_text(node, browser, monkeypatch):
    def broken(*_):
        raise RuntimeError("row 17 of patient 4711")

    monkeypatch.setattr("silo_node.console.record_pages.ledger_view", broken)
    failed = browser.get("/ledger")
    assert failed.status_code == 500 and "4711" not in failed.text and "Incident" in failed.text
    assert "default-src 'none'" in failed.headers["content-security-policy"]


def test_a_damaged_journal_is_named_and_nothing_is_decided_on_it(node, browser, peers):
    fields = browser.form(peers.study, "accept")
    token = {"token": fields["token"]}
    assert browser.ask("POST", f"{browser.place}/journal", data=token).status_code == 303
    assert "Whole: " in browser.get("/journal").text
    (node.folder / "journal.sqlite").rename(node.folder / "journal.away")
    refused = browser.post(peers.study, fields)
    assert (
        refused.status_code == 503 and "removed or replaced" in refused.text and "Nothing was decided" in refused.text
    )
    assert node.silo.tasks.answered(peers.study, "accept") is None


def test_the_address_of_a_page_alone_tells_nothing(browser):
    assert urlsplit(browser.place).path.count("/") == 1
    browser.cookie = ""
    shown = browser.get().text
    assert "Signed out" in shown and "alpha" not in shown
