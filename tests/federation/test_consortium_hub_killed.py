"""The hub killed with -9 in the middle of rounds, at each state of a round, and started again."""

from collections.abc import Callable

import pytest

from compose.heart import HOSPITALS
from protocol.round_statements import RoundClosed, RoundOpened
from tests.federation.rig.hospitals import LAST, Hospitals, charged_once, children_of, eventually
from tests.federation.rig.proxy import Request

pytestmark = pytest.mark.slow

POINTS: dict[str, Callable[[Request], bool]] = {
    "round 0 is open, one silo not ready": lambda request: request.says("round-ready", 0),
    "round 1 is frozen, one silo uploading": lambda request: request.is_chunk_of(1),
    "round 2 is uploaded, one silo's last word missing": lambda request: request.says("upload-complete", 2),
    "round 3 is served, one silo fetching": lambda request: request.is_sum_of(3),
    "round 4 is served, one silo's state missing": lambda request: request.says("sum-verified", 4),
}


def test_a_hub_killed_at_any_point_of_a_round_and_started_again_finishes_the_study(hospitals: Hospitals) -> None:
    points = iter(POINTS.values())
    held = hospitals.proxy.hold(next(points))
    study = hospitals.study()
    for following in [*points, None]:
        held.wait()
        hospitals.kill("hub")
        let_go = held
        held = hospitals.proxy.hold(following or (lambda request: False))
        let_go.released.set()
        hospitals.start("hub")
    hospitals.completed(study)
    assert hospitals.same_state_everywhere(study)
    for name in HOSPITALS:
        assert hospitals.charges(name, study) == charged_once()
    opened = [(one.round, one.attempt) for one in hospitals.statements(RoundOpened, study)]
    assert opened == [(index, 1) for index in range(LAST + 1)]
    assert all(not one.suspended for one in hospitals.statements(RoundClosed, study))
    assert hospitals.log_verifies()


def test_the_workers_of_a_killed_hub_end_with_it(hospitals: Hospitals) -> None:
    eventually(lambda: children_of(hospitals.process("hub").pid), "the hub has its workers")
    assert hospitals.kill("hub") == []
