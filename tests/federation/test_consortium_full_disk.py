"""A silo whose disk is full: it stops before anything is half-done, and goes on once there is room."""

import resource

import pytest

from compose.heart import HOSPITALS
from silo_node.journal.chain import Journal
from tests.federation.rig.hospitals import Hospitals, charged_once

pytestmark = pytest.mark.slow

VICTIM = "va-long-beach"
ROOM = 64 * 1024
"""Bytes that no file of the node may pass from now on; its databases have."""


def test_a_silo_without_room_stops_with_a_clear_word_and_goes_on_when_there_is_room(hospitals: Hospitals) -> None:
    held = hospitals.proxy.hold(lambda request: request.says("round-ready", 1))
    study = hospitals.study(step_timeout_s=120)
    held.wait()
    resource.prlimit(hospitals.process(VICTIM).pid, resource.RLIMIT_FSIZE, (ROOM, resource.RLIM_INFINITY))
    held.released.set()
    status, said = hospitals.ends(VICTIM)
    assert status == 1
    assert "make room" in said
    assert "Traceback" not in said
    hospitals.start(VICTIM)
    hospitals.completed(study)
    assert hospitals.same_state_everywhere(study)
    assert hospitals.charges(VICTIM, study) == charged_once()
    journal = Journal(hospitals.group.silo(VICTIM) / "journal.sqlite")
    assert any(entry.event.study == study for entry in journal.entries())
    journal.close()
    assert len({hospitals.state(name, study) for name in HOSPITALS}) == 1
