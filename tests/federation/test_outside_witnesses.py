"""Witnesses outside the consortium, asked over real HTTP (C2SP tlog-witness), honest and not."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, cast

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.__main__ import create
from hub.aggregation.aggregator import Aggregator
from hub.config.key_ring import KeyRing
from hub.config.settings import load
from hub.jobs.witnesses import WitnessAsker
from hub.services.candidates import Candidates
from hub.services.outside_witnesses import OutsideWitnesses
from hub.services.wiring import Services, build
from hub.services.witness_call import WitnessCall, WitnessFailed
from protocol import routes
from protocol.cosignature import timestamps
from protocol.signed_note import VerifierKey
from protocol.translog import Checkpoint
from protocol.tree import TreeHead
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.witness import WitnessServer

NAME = "witness.example/w1"


@dataclass
class Scene:
    services: Services
    consortium: Consortium
    witness: WitnessServer
    now: datetime

    @property
    def candidates(self) -> Candidates:
        return self.services.candidates

    def outside(self, url: str = "") -> OutsideWitnesses:
        call = WitnessCall(httpx.Client())
        return OutsideWitnesses(self.candidates, self.services.log, call, {NAME: url or self.witness.url})

    def grow(self, leaves: int = 1) -> None:
        """More leaves, and a new candidate over them."""
        self.now += timedelta(hours=1)
        with self.services.recorder.transaction() as recording:
            for number in range(leaves):
                recording.refuse(f"{self.now} {number}".encode(), "person:ines", None, "a leaf is needed")

    @property
    def cosigned(self) -> bool:
        held = self.candidates.newest()
        assert held is not None
        return timestamps(held.note, [self.witness.cosigner]) != [None]

    @property
    def size(self) -> int:
        return self.services.log.size()


@pytest.fixture
def scene(tmp_path: Path) -> Iterator[Scene]:
    card = create(tmp_path, "Test consortium")
    verifier = VerifierKey.from_hex(card["log_origin"], card["log_key"])
    with WitnessServer(NAME, verifier) as witness:
        made = Scene(cast(Services, None), Consortium("http://127.0.0.1:1", card), witness, datetime.now(UTC))
        settings = load(tmp_path)
        made.services = build(settings, KeyRing.opened(settings.keys), cast(Aggregator, None), lambda: made.now)
        # Without members the witness alone is the quorum.
        admin, named = (
            made.consortium.admin,
            [{"name": NAME, "key": witness.cosigner.public_key.public_bytes_raw().hex()}],
        )
        charter = made.consortium.charter_value(witnesses=named)
        made.services.charters.found(admin.signed("charter", **admin.signs(charter)).wire)
        yield made
        made.services.database.close()


def test_a_witness_that_saw_nothing_yet_cosigns_and_makes_the_candidate_quorate(scene: Scene) -> None:
    outside = scene.outside()
    assert outside.ask(NAME) and scene.cosigned
    assert scene.candidates.quorate() == scene.candidates.newest()
    assert (scene.witness.asked, scene.witness.answered) == ([0], [200])
    assert not outside.ask(NAME), "it was asked for what it gave"


def test_growth_is_proved_from_what_the_witness_cosigned_last(scene: Scene) -> None:
    outside = scene.outside()
    outside.ask(NAME)
    for leaves in (1, 5, 3):
        scene.grow(leaves)
        outside.ask(NAME)
        assert scene.cosigned
    assert scene.witness.answered == [200] * 4 and scene.witness.asked[0] == 0


def test_a_hub_that_forgot_the_size_is_told_it_and_tries_again_from_there(scene: Scene) -> None:
    scene.grow(4)
    scene.outside().ask(NAME)
    scene.grow(4)
    scene.outside().ask(NAME)  # another process of the hub
    assert scene.cosigned and scene.witness.answered == [200, 409, 200]


def test_a_witness_that_saw_another_log_refuses_and_the_operator_is_told(scene: Scene) -> None:
    scene.grow(4)
    origin = scene.services.settings.log_origin
    scene.witness.heads[origin] = TreeHead(2, bytes(32))
    with pytest.raises(WitnessFailed, match="answered 422"):
        scene.outside().ask(NAME)
    scene.witness.heads[origin] = TreeHead(2, bytes(32))
    assert not scene.cosigned and scene.witness.answered == [409, 422]


def test_a_witness_that_saw_another_root_at_this_size_refuses(scene: Scene) -> None:
    held = scene.candidates.newest()
    assert held is not None
    size = Checkpoint.parse(held.note.partition("\n\n")[0] + "\n").size
    scene.witness.heads[scene.services.settings.log_origin] = TreeHead(size, bytes(32))
    with pytest.raises(WitnessFailed, match=f"refuses this log's {size} leaves after the {size} it saw"):
        scene.outside().ask(NAME)
    assert not scene.cosigned


def test_a_hub_put_back_to_yesterdays_database_gets_no_cosignature(scene: Scene) -> None:
    scene.witness.heads[scene.services.settings.log_origin] = TreeHead(1000, bytes(32))
    with pytest.raises(WitnessFailed, match="it saw a log of 1000 leaves, this one has 1: was the database put back"):
        scene.outside().ask(NAME)
    assert not scene.cosigned


def test_a_cosignature_by_another_key_is_refused(scene: Scene) -> None:
    scene.witness.signing = Ed25519PrivateKey.generate()
    with pytest.raises(WitnessFailed, match="no cosignature by the key"):
        scene.outside().ask(NAME)
    assert not scene.cosigned


def test_a_cosignature_of_another_checkpoint_under_the_right_key_is_refused(scene: Scene) -> None:
    other = scene.candidates.newest()
    assert other is not None
    stale = scene.witness.add("/add-checkpoint", "old 0\n\n" + other.note)
    scene.grow()
    scene.witness.answer = stale
    with pytest.raises(WitnessFailed, match="not one of this checkpoint"):
        scene.outside().ask(NAME)
    assert not scene.cosigned


def test_lines_of_other_keys_beside_the_witnesss_own_are_left_out(scene: Scene) -> None:
    held = scene.candidates.newest()
    assert held is not None
    status, kind, line = scene.witness.add("/add-checkpoint", "old 0\n\n" + held.note)
    scene.witness.answer = (status, kind, "— stranger.example AAAAAAAA\n" + line)
    scene.outside().ask(NAME)
    now = scene.candidates.newest()
    assert now is not None and now.note == held.note + line


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        ((403, "text/plain", "who are you\n"), "answered 403: 'who are you"),
        ((404, "text/plain", ""), "answered 404"),
        ((409, "text/plain", "5\n"), "answered 409"),
        ((409, "text/x.tlog.size", "-5\n"), "409 without the size"),
        ((409, "text/x.tlog.size", "9" * 30), "409 without the size"),
        ((500, "text/html", "<b>oops\x1b[31m"), r"answered 500: '<b>oops\\x1b\[31m'"),
        ((302, "text/plain", ""), "answered 302"),
        ((200, "text/plain", ""), "no cosignature by the key"),
        ((200, "text/plain", "junk\n"), "doesn't hold"),
        ((200, "text/plain", "x" * 100_000), "more than"),
    ],
)
def test_any_other_answer_is_a_failure_that_says_what_came(scene: Scene, answer: Any, reason: str) -> None:
    scene.witness.answer = answer
    with pytest.raises(WitnessFailed, match=reason):
        scene.outside().ask(NAME)
    assert not scene.cosigned


def test_a_witness_that_is_down_is_asked_again_and_holds_up_nobody(
    scene: Scene, capfd: pytest.CaptureFixture[str]
) -> None:
    outside = scene.outside()
    outside.urls["down.example"] = "http://127.0.0.1:9"
    with pytest.raises(WitnessFailed, match="names no such witness"):
        outside.ask("down.example")
    outside.urls[NAME], there = "http://127.0.0.1:9", outside.urls[NAME]
    asker = WitnessAsker(outside, look_every_s=0.05)
    asker.start()
    try:
        time.sleep(0.3)
        assert not scene.cosigned
        outside.urls[NAME] = there
        deadline = time.monotonic() + 20
        while not scene.cosigned and time.monotonic() < deadline:
            time.sleep(0.05)
        assert scene.cosigned
    finally:
        asker.stop()
    said = capfd.readouterr().out
    assert "doesn't answer (ConnectError)" in said and "witness-cosigned" in said


def test_a_running_hub_asks_the_witness_in_its_settings_once_the_charter_names_it(tmp_path: Path) -> None:
    key = Ed25519PrivateKey.generate()
    card = create(tmp_path / "hub", "Test consortium")
    with WitnessServer(NAME, VerifierKey.from_hex(card["log_origin"], card["log_key"]), key) as witness:
        hub = HubProcess(tmp_path / "hub", card, witness_urls=json.dumps({NAME: witness.url}))
        hub.start()
        try:
            consortium = Consortium(hub.url, card)
            named = [{"name": NAME, "key": key.public_key().public_bytes_raw().hex()}]
            charter = consortium.charter_value(witnesses=named)
            signed = consortium.admin.signed("charter", **consortium.admin.signs(charter))
            assert httpx.post(hub.url + routes.CHARTER, content=signed.wire).status_code == 200
            deadline = time.monotonic() + 40
            while (served := httpx.get(hub.url + routes.LOG_WITNESSED)).status_code == 404:
                assert time.monotonic() < deadline, hub.logged()
                time.sleep(0.2)
            assert timestamps(served.text, [witness.cosigner]) != [None]
        finally:
            hub.stop()
