"""Nothing leaves the silo before its journal entry is durable: tried at the very wire, for every way out there is.

The ways out are found, not listed: each function of the hub client is called, and those that send a body must be
spoken through the voice in ``WAYS``. A new one without its way here makes these tests fail.
"""

import ast
import contextlib
import inspect
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

from protocol import routes
from protocol.canonical import digest
from protocol.errors import ProtocolError
from protocol.study_statements import StudyPaused
from silo_node.agent import joining
from silo_node.agent.tasks import Tasks
from silo_node.agent.voice import Saying, Voice
from silo_node.errors import SiloError
from silo_node.hub_client import session as hub_client
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.retry import Backoff
from silo_node.hub_client.session import HubSession
from silo_node.journal.chain import Journal

ROOT = Path(hub_client.__file__).parents[1]
STUDY = "a" * 64
TOKEN = {"access_token": "t", "token_type": "DPoP", "expires_in": 300, "scope": "log:read"}
NOW = datetime(2026, 11, 22, tzinfo=UTC)


def saying(name):
    return Saying(
        name, lambda opening: StudyPaused(type="study-paused", study=STUDY, reason="two void rounds", **opening)
    )


WAYS = {
    "post": lambda voice: voice.say(saying("one"), saying("two")),
    "post_cosignature": lambda voice: (voice.record_cosignature(7, "a line"), voice.send_cosignature("a line")),
    "put_chunk": lambda voice: voice.send_chunk(STUDY, 1, 1, 0, b"a sealed chunk"),
    "put_shares": lambda voice: voice.send_shares(STUDY, 1, 1, b"shares"),
    "put_blob": lambda voice: voice.send_blob(STUDY, "a release", b"a sealed release"),
    "put_job_blob": lambda voice: voice.send_job_blob("a job's outputs", b"sealed outputs"),
}
"""How each sending method of the hub session is reached in the product."""

ENROL = {"enrol"}
"""Functions that send before there is a voice; joining reaches them."""


class Wire:
    """Stands where the bytes leave. ``journal``: what must know each of them by then, read as another process would."""

    def __init__(self, journal=None):
        self.journal, self.bodies = journal, []

    def __call__(self, request):
        if request.url.path == routes.TOKENS:
            return httpx.Response(200, json=TOKEN)
        if request.method != "GET":
            self.bodies.append(request.content)
            if self.journal is not None:
                self.stands_in_the_journal(request)
        return httpx.Response(200, json={"indices": [0, 1]})

    def stands_in_the_journal(self, request):
        reader = Journal(self.journal)
        known = {entry.event.digest for entry in reader.entries()}
        reader.close()
        parts = request.content.splitlines() if request.url.path == routes.STATEMENTS else [request.content]
        assert parts
        assert {digest(part) for part in parts} <= known, f"{request.method} {request.url.path} left before its entry"


def hub_session(folder, wire):
    backoff = Backoff(1, 0.1, 0.1, lambda _: None, lambda: 0.0)
    made = HubSession("https://hub.example", Identity.create("alpha", folder), "consortia-hub:test", 5.0, backoff)
    made._http = httpx.Client(base_url="https://hub.example", transport=httpx.MockTransport(wire))
    return made


def sample(parameter):
    kinds = {"str": STUDY, "int": 1, "float": 1.0, "bytes": b"some bytes"}
    return kinds.get(inspect.formatannotation(parameter.annotation), [])


def senders(folder):
    """The public methods of the session that send a body, found by calling every one of them."""
    found = set()
    for name, method in inspect.getmembers(HubSession, inspect.isfunction):
        if name.startswith("_") or name == "close":
            continue
        wire = Wire()
        given = [sample(one) for one in list(inspect.signature(method).parameters.values())[1:]]
        with contextlib.suppress(SiloError, ProtocolError):  # what it makes of a nonsense answer is not asked here
            method(hub_session(folder, wire), *given)
        if wire.bodies:
            found.add(name)
    return found


def test_every_way_out_is_one_of_the_voices(tmp_path):
    assert senders(tmp_path) == set(WAYS)


@pytest.mark.parametrize("way", WAYS)
def test_what_leaves_stands_in_the_journal_before(tmp_path, way):
    path = tmp_path / "journal.sqlite"
    journal, tasks, wire = Journal(path), Tasks(tmp_path), Wire(path)
    session = hub_session(tmp_path, wire)
    voice = Voice(Identity.load("alpha", tmp_path), journal, tasks, session, lambda: NOW)
    WAYS[way](voice)
    assert wire.bodies
    for part in (journal, tasks, session):
        part.close()


def test_the_request_to_join_stands_in_the_journal_before_it_is_sent(tmp_path, monkeypatch):
    folder = tmp_path / "alpha"
    seen = []

    def enrol(url, code, signed, timeout_s):
        reader = Journal(folder / "journal.sqlite")
        (entry,) = reader.entries()
        reader.close()
        seen.append((entry.event.digest == signed.digest, signed.body.journal_head))

    monkeypatch.setattr(joining, "enrol", enrol)
    monkeypatch.setattr(joining, "fetch_charter", lambda url, timeout_s: [])
    monkeypatch.setattr(joining, "begin", lambda chain, founding: None)
    joining.join(folder, "https://hub.example", "alpha", "ABCD-ABCD-ABCD-ABCD-ABCD." + "f" * 64, NOW)
    assert seen == [(True, "0" * 64)]


def calls(name):
    """Files of the silo in which something is called ``.name(...)`` or ``name(...)``, with what it is called on."""
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                target = node.func
                if isinstance(target, ast.Attribute) and target.attr == name:
                    yield str(path.relative_to(ROOT)), ast.unparse(target.value)
                elif isinstance(target, ast.Name) and target.id == name:
                    yield str(path.relative_to(ROOT)), ""


@pytest.mark.parametrize("way", WAYS)
def test_nothing_but_the_voice_calls_a_way_out(way):
    own_routes = {(place, on) for place, on in calls(way) if place.startswith("console/") and on in ("router", "door")}
    assert set(calls(way)) - own_routes - {("hub_client/session.py", "http")} == {("agent/voice.py", "self._hub")}


def test_nothing_but_joining_asks_to_join():
    (name,) = ENROL
    assert {place for place, _ in calls(name)} == {"agent/joining.py"}


def test_nothing_but_the_hub_client_and_an_owners_query_can_reach_the_network():
    network = {"httpx", "requests", "socket", "urllib", "http", "aiohttp", "ssl", "adbc_driver_postgresql", "psycopg"}
    found = set()
    for path in sorted(ROOT.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [one.name for one in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.partition(".")[0] in network for name in names):
                found.add(str(path.relative_to(ROOT)))
    assert found == {"hub_client/session.py", "dataset/sources/postgresql.py"}


def test_functions_that_send_outside_a_session_are_known():
    """Each takes the hub's address; of those, ``fetch_charter`` only reads, and two judge the address alone."""
    found = {
        name
        for name, one in inspect.getmembers(hub_client, inspect.isfunction)
        if one.__module__ == hub_client.__name__ and "url" in inspect.signature(one).parameters
    }
    assert found - {"fetch_charter", "checked_url", "is_this_machine"} == ENROL
