"""Real silos as witnesses: what they cosign by themselves, and what no hub gets them to cosign."""

import json
import re
import time
from collections.abc import Callable
from dataclasses import replace

import httpx
import pytest

from compose.heart import HOSPITALS
from hub.config.key_ring import KeyRing
from protocol import canonical, routes
from protocol.cosignature import timestamps
from protocol.journal import JournalEvent
from protocol.routes import Follow
from protocol.signed_note import split_note
from protocol.translog import Checkpoint, sign_checkpoint
from protocol.tree import EMPTY_ROOT
from protocol.witnesses import silo_witness, witnesses_of
from silo_node.journal.chain import Journal
from tests.federation.rig.hospitals import PROXIED, Hospitals, eventually
from tests.federation.rig.proxy import Answer, Request

Change = Callable[[Checkpoint], Checkpoint]


def cosignatures(hospitals: Hospitals, silo: str) -> list[JournalEvent]:
    journal = Journal(hospitals.group.silo(silo) / "journal.sqlite")
    try:
        return [entry.event for entry in journal.entries() if entry.event.kind == "cosignature"]
    finally:
        journal.close()


def witnessed(hospitals: Hospitals) -> str:
    """The newest checkpoint that every silo cosigned."""
    keys = witnesses_of(hospitals.researcher.log.charter).keys

    def look() -> str:
        note = httpx.get(hospitals.group.url + routes.LOG_WITNESSED)
        return note.text if note.status_code == 200 and None not in timestamps(note.text, keys) else ""

    return eventually(look, "all silos cosigned the candidate")


def test_silos_cosign_the_log_by_themselves_and_write_it_down_first(hospitals: Hospitals) -> None:
    note = witnessed(hospitals)
    assert Checkpoint.parse(split_note(note)[0]).size > len(HOSPITALS)
    origin = hospitals.researcher.log.charter.log_origin
    for silo in HOSPITALS:
        (line,) = [line for line in split_note(note)[1] if line.split(" ")[1] == silo_witness(origin, silo)]
        assert canonical.digest(line.encode()) in [event.digest for event in cosignatures(hospitals, silo)]


def lying(hospitals: Hospitals, change: Change) -> Callable[[Request, Answer], Answer]:
    """The hub, with its log key in force, shows the silo on the proxied line another candidate."""
    hospitals.researcher.log.refresh()
    charter = hospitals.researcher.log.charter
    pair = KeyRing.opened(hospitals.group.folder / "hub" / "keys").find(charter.hub_key, charter.log_key)
    assert pair is not None

    def show(request: Request, answer: Answer) -> Answer:
        if not request.is_poll or answer.status != 200:
            return answer
        follow = Follow.model_validate_json(answer.body)
        newest = Checkpoint.parse(split_note(follow.checkpoint)[0])
        candidate = sign_checkpoint(change(newest), newest.origin, pair.log)
        return answer.with_body(follow.model_copy(update={"candidate": candidate}).model_dump_json().encode())

    return show


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda newest: replace(newest, root_hash=bytes(32)), "two roots at"),
        (lambda newest: replace(newest, size=newest.size - 1), "leaves: |is not one of the log that was read"),
        (lambda newest: replace(newest, size=1, root_hash=bytes(32)), "is not one of the log that was read"),
        (lambda newest: replace(newest, size=0, root_hash=EMPTY_ROOT, origin="another/log"), "is of log another/log"),
    ],
    ids=["another root at the size that was read", "a leaf removed", "another first leaf", "another log"],
)
def test_a_hub_that_shows_its_witness_another_log_gets_no_cosignature_and_is_found_out(
    hospitals: Hospitals, change: Change, why: str
) -> None:
    witnessed(hospitals)
    before = cosignatures(hospitals, PROXIED)
    hospitals.proxy.change = lying(hospitals, change)
    hospitals.stop(PROXIED)
    hospitals.start(PROXIED)
    status, said = hospitals.ends(PROXIED)
    assert status == 1 and re.search(why, said) and "Traceback" not in said
    assert cosignatures(hospitals, PROXIED) == before
    hospitals.proxy.leave_alone()
    hospitals.start(PROXIED)
    witnessed(hospitals)


def test_a_silo_cut_off_from_the_others_cosignatures_knows_that_it_may_not_work(hospitals: Hospitals) -> None:
    """All that a split-off silo can be shown is its own cosignature: others' lines of another root don't verify."""
    note = witnessed(hospitals)
    charter = hospitals.researcher.log.charter
    text, lines = split_note(note)
    other = text.replace("\ntime 2", "\ntime 3", 1)
    forged = other + "\n" + "".join(f"{line}\n" for line in lines)
    assert timestamps(forged, witnesses_of(charter).keys) == [None] * len(HOSPITALS)


def test_a_hub_that_hides_a_cosignature_is_sent_one_line_and_the_journal_grows_by_one(hospitals: Hospitals) -> None:
    witnessed(hospitals)
    posted: list[bytes] = []

    def hide(request: Request, answer: Answer) -> Answer:
        if request.path == routes.LOG_COSIGNATURES:
            posted.append(request.body)
        if not request.is_poll or answer.status != 200:
            return answer
        follow = json.loads(answer.body)
        text, lines = split_note(follow["candidate"])
        follow["candidate"] = text + "\n" + lines[0] + "\n"
        return answer.with_body(json.dumps(follow).encode())

    before = len(cosignatures(hospitals, PROXIED))
    hospitals.proxy.change = hide
    hospitals.stop(PROXIED)
    hospitals.start(PROXIED)
    eventually(lambda: len(posted) >= 2, "the line is sent again")
    time.sleep(0.2)
    assert len(set(posted)) == 1 and len(cosignatures(hospitals, PROXIED)) == before
