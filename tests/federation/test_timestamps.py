"""Checkpoints dated by a time-stamping authority: OpenSSL issues the tokens, and checks those that were kept."""

import base64
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from hub.errors import SetupRefused
from hub.services.timestamps import TimestampFailed, Timestamps, over_http, read_roots
from hub.store import candidates
from hub.store.database import Database
from hub.store.schema import migrate
from protocol import routes
from protocol.cosignature import cosign
from protocol.routes import Follow, TimestampAnswer
from protocol.signed_note import split_note
from protocol.witnesses import silo_witness
from tests.unit.hub.rig.authority import Authority
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import check
from tests.unit.hub.rig.process import HubProcess

NOTE = "log.example/one\n1\nroot\n\n— log.example/one AAAAAAA=\n"


@pytest.fixture
def authority(tmp_path: Path) -> Iterator[Authority]:
    with Authority(tmp_path / "authority") as made:
        yield made


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(f"sqlite:///{tmp_path / 'hub.sqlite'}")
    migrate(made, tmp_path)
    yield made
    made.close()


@pytest.fixture
def timestamps(authority: Authority, database: Database) -> Timestamps:
    return Timestamps(database, over_http(httpx.Client(), authority.url), read_roots(authority.ca))


def put(database: Database, note: str, quorate: bool = True) -> None:
    with database.writing() as connection:
        candidates.add(connection, note, None, 1)
        number, _ = candidates.state(connection)
        if quorate:
            candidates.write_note(connection, number, note, 2)


def kept(database: Database) -> bytes | None:
    with database.reading() as connection:
        found = candidates.newest(connection)
    return None if found is None else found.token


def test_a_quorate_candidate_is_dated_once_and_openssl_takes_the_token(
    authority: Authority, database: Database, timestamps: Timestamps
) -> None:
    assert not timestamps.stamp(), "there is nothing to date"
    put(database, NOTE)
    assert timestamps.stamp() and not timestamps.stamp()
    token, text = kept(database), split_note(NOTE)[0].encode()
    assert token is not None and authority.verifies(token, text)
    assert not authority.verifies(token, text + b"x") and len(authority.queries) == 1


def test_what_no_quorum_saw_is_not_dated(authority: Authority, database: Database, timestamps: Timestamps) -> None:
    put(database, NOTE, quorate=False)
    assert not timestamps.stamp() and authority.queries == []


def test_cosignatures_that_come_later_leave_the_token_right(
    authority: Authority, database: Database, timestamps: Timestamps
) -> None:
    put(database, NOTE)
    timestamps.stamp()
    with database.writing() as connection:
        candidates.write_note(connection, 1, NOTE + "— log.example/two AAAAAAA=\n", 2)
    token = kept(database)
    assert token is not None and authority.verifies(token, split_note(NOTE)[0].encode())


def test_an_answer_that_does_not_verify_is_not_kept(
    authority: Authority, database: Database, timestamps: Timestamps, tmp_path: Path
) -> None:
    put(database, "log.example/one\n2\nroot\n\n— log.example/one AAAAAAA=\n")
    timestamps.stamp()
    put(database, NOTE)
    old = authority.reply(authority.queries[0])  # granted, for another text and another nonce
    flipped = bytearray(authority.reply(authority.queries[0]))
    flipped[-20] ^= 1
    answers = [(200, old), (200, bytes(flipped)), (200, b"junk"), (200, b""), (500, b""), (200, bytes(300_000))]
    for answer in answers:
        authority.answer = answer
        with pytest.raises(TimestampFailed):
            timestamps.stamp()
    authority.answer = None
    with Authority(tmp_path / "stranger") as stranger:
        elsewhere = Timestamps(database, over_http(httpx.Client(), stranger.url), timestamps.roots)
        with pytest.raises(TimestampFailed, match="doesn't verify"):
            elsewhere.stamp()
    nowhere = Timestamps(database, over_http(httpx.Client(), "http://127.0.0.1:9"), timestamps.roots)
    with pytest.raises(TimestampFailed, match="doesn't answer"):
        nowhere.stamp()
    assert kept(database) is None
    assert timestamps.stamp()


def test_a_file_without_certificates_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.pem").write_text("nothing")
    for name in ("empty.pem", "missing.pem"):
        with pytest.raises(SetupRefused, match="timestamp_ca"):
            read_roots(tmp_path / name)


def test_a_running_hub_serves_the_token_of_what_its_silos_cosigned(authority: Authority, tmp_path: Path) -> None:
    given = {"timestamp_url": authority.url, "timestamp_ca": str(authority.ca)}
    hub = HubProcess(tmp_path / "hub", **given)
    hub.start()
    try:
        consortium = Consortium(hub.url, hub.card)
        consortium.gather()
        assert httpx.get(hub.url + routes.LOG_TIMESTAMP).status_code == 404
        silo = consortium.silos[0]
        note = Follow.model_validate_json(silo.get(routes.POLL, after=0).content).candidate
        for one in consortium.silos[:3]:
            line = cosign(note, silo_witness(hub.card["log_origin"], one.name), one.key, int(time.time()))
            check(one.http.post(routes.LOG_COSIGNATURES, content=line.encode(), headers=one.headers))
        deadline = time.monotonic() + 40
        while (answer := httpx.get(hub.url + routes.LOG_TIMESTAMP)).status_code == 404:
            assert time.monotonic() < deadline, hub.logged()
            time.sleep(0.2)
        stamped = TimestampAnswer.model_validate_json(answer.content)
        text = split_note(stamped.checkpoint)[0]
        assert text == split_note(note)[0] and authority.verifies(base64.b64decode(stamped.token), text.encode())
    finally:
        hub.stop()
