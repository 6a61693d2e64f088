"""Silos witness the log of a real hub: the candidate, its cosignatures, and who may give them."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from protocol import canonical, routes
from protocol.cosignature import cosign, timestamps
from protocol.routes import Follow
from protocol.signed_note import split_note
from protocol.translog import Checkpoint
from protocol.witnesses import silo_witness, witnesses_of
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import Party, Refusal, check
from tests.unit.hub.rig.process import HubProcess
from tests.unit.hub.rig.silo import FakeSilo


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


def follow(party: Party, wait_s: float = 0, held: str | None = None) -> Follow:
    size = Checkpoint.parse(split_note(party.get(routes.LOG_CHECKPOINT).json()["checkpoint"])[0]).size
    query = {"after": size, "wait_s": wait_s}
    if held is not None:
        query["candidate"] = canonical.digest(held.encode())
    return Follow.model_validate_json(party.get(routes.POLL, **query).content)


def line_of(silo: FakeSilo, note: str, seconds: float = 0, name: str = "") -> str:
    made = int(time.time() + seconds)
    return cosign(note, silo_witness(silo.card["log_origin"], name or silo.name), silo.key, made)


def post(party: Party, line: str) -> None:
    check(party.http.post(routes.LOG_COSIGNATURES, content=line.encode(), headers=party.headers))


def cosigners(consortium: Consortium, note: str) -> list[bool]:
    assert consortium.charter is not None
    return [made is not None for made in timestamps(note, witnesses_of(consortium.charter).keys)]


def test_a_quorum_of_silos_witnesses_the_log_and_who_waits_is_woken(consortium: Consortium) -> None:
    note = follow(consortium.officer).candidate
    assert (
        Checkpoint.parse(split_note(note)[0]).charter
        == consortium.silos[0].get(routes.LOG_CHECKPOINT).json()["charter"]
    )
    for silo in consortium.silos[:2]:
        post(silo, line_of(silo, note))
    with pytest.raises(Refusal, match="quorum") as none_yet:
        consortium.officer.get(routes.LOG_WITNESSED)
    assert none_yet.value.status == 404
    held = follow(consortium.officer).candidate
    woken: list[Follow] = []
    waiting = threading.Thread(target=lambda: woken.append(follow(consortium.officer, 30, held)))
    waiting.start()
    time.sleep(0.5)
    begun = time.monotonic()
    post(consortium.silos[2], line_of(consortium.silos[2], note))
    waiting.join(timeout=25)
    assert woken and time.monotonic() - begun < 20, "the poll wasn't woken"
    assert cosigners(consortium, woken[0].candidate) == [True, True, True, False]
    served = httpx.get(consortium.url + routes.LOG_WITNESSED)
    assert served.text == woken[0].candidate and served.headers["content-type"] == "text/plain; charset=utf-8"


def test_a_poll_that_names_no_candidate_or_the_same_one_waits(consortium: Consortium) -> None:
    silo = consortium.silos[0]
    held = follow(silo).candidate
    for known in (None, held):
        begun = time.monotonic()
        assert follow(silo, 1, known).candidate == held
        assert time.monotonic() - begun >= 1
    assert follow(silo, 30, "another").candidate == held


def test_a_new_charter_is_put_before_the_witnesses_at_once(consortium: Consortium) -> None:
    silo = consortium.silos[0]
    held = follow(silo).candidate
    newcomer = FakeSilo("erin", consortium.url, consortium.card)
    assert consortium.enrol(newcomer, consortium.invite("erin")).status_code == 200
    assert follow(silo).candidate == held
    consortium.admit(newcomer)
    answer = follow(silo, 30, held)
    named = Checkpoint.parse(split_note(answer.candidate)[0])
    assert named.charter == silo.get(routes.LOG_CHECKPOINT).json()["charter"]
    with pytest.raises(Refusal, match="poll again") as stale:
        post(silo, line_of(silo, held))
    assert stale.value.status == 409


def test_cosignatures_that_do_not_fit_are_refused_and_change_nothing(consortium: Consortium) -> None:
    ada, bern = consortium.silos[:2]
    note = follow(ada).candidate
    good = line_of(ada, note)
    refused = [
        (ada, line_of(bern, note), 403),  # another silo's cosignature, under its own name
        (ada, line_of(bern, note, name=ada.name), 409),  # under this silo's name, by another key
        (ada, line_of(ada, note, name=bern.name), 403),
        (ada, line_of(ada, note.replace("charter ", "charter f")), 409),  # of another checkpoint
        (ada, line_of(ada, note, seconds=3600), 400),  # from the future
        (ada, good[:-8], 409),
        (ada, good + "\n" + good, 400),
        (ada, "", 400),
        (ada, "— nobody AAAA", 400),
        (ada, "x" * 10_000, 413),
        (consortium.admin, good, 403),
        (consortium.officer, good, 403),
    ]
    for party, line, status in refused:
        with pytest.raises(Refusal) as refusal:
            post(party, line)
        assert refusal.value.status == status, (line, refusal.value.detail)
    assert httpx.post(consortium.url + routes.LOG_COSIGNATURES, content=good).status_code == 401
    assert follow(ada).candidate == note


def test_the_same_cosignature_again_changes_nothing_and_a_newer_one_takes_its_place(consortium: Consortium) -> None:
    ada = consortium.silos[0]
    note = follow(ada).candidate
    line = line_of(ada, note, seconds=-60)
    for _ in range(2):
        post(ada, line)
    assert split_note(follow(ada).candidate)[1] == [*split_note(note)[1], line]
    newer = line_of(ada, note)
    post(ada, newer)
    post(ada, line)
    assert split_note(follow(ada).candidate)[1] == [*split_note(note)[1], newer]


def test_cosignatures_outlive_a_killed_hub_and_wake_who_waits_at_another_replica(
    hub: HubProcess, consortium: Consortium
) -> None:
    note = follow(consortium.officer).candidate
    for silo in consortium.silos[:2]:
        post(silo, line_of(silo, note))
    held = follow(consortium.officer).candidate
    hub.kill()
    hub.start()
    assert follow(consortium.officer).candidate == held
    second = HubProcess(hub.folder, hub.card)
    second.start()
    try:
        there = Party(consortium.officer.party, second.url, hub.card)
        there.key = consortium.officer.key
        woken: list[Follow] = []
        waiting = threading.Thread(target=lambda: woken.append(follow(there, 30, held)))
        waiting.start()
        time.sleep(0.5)
        post(consortium.silos[3], line_of(consortium.silos[3], note))
        waiting.join(timeout=20)
        assert woken and sum(cosigners(consortium, woken[0].candidate)) == 3
    finally:
        second.stop()


def test_silos_that_cosign_at_once_all_stand_on_the_candidate(consortium: Consortium) -> None:
    note = follow(consortium.officer).candidate
    threads = [threading.Thread(target=post, args=(silo, line_of(silo, note))) for silo in consortium.silos]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert cosigners(consortium, follow(consortium.officer).candidate) == [True] * 4
