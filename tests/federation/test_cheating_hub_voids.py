"""A hub that voids round after round, to drain the silos' budgets or to take back what a quorum reached."""

from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from protocol.round_statements import RoundOpened, RoundReady, RoundVoided, SpendReserved, SumVerified
from protocol.study_statements import StudyPaused, StudyResumed
from silo_node.__main__ import app
from silo_node.agent.answers import standing
from tests.federation.rig.cheating import Cheat
from tests.federation.rig.cheating_nodes import Node
from tests.federation.rig.cheating_reveals import record_of
from tests.federation.rig.cheating_silos import TRAINING, Group, founded_group
from tests.sample_study import SILOS
from tests.unit.silo_node.agent.test_cheats import Sum, adds_a_constant

pytestmark = pytest.mark.slow

LAST = 5
"""The evaluation, after four rounds of training."""
FAR = "2099-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("voids")) as group:
        yield group


@pytest.fixture
def group(founded: Group) -> Group:
    return founded.honest()


def spoils_every_training(job, terms, total):
    if job.round < TRAINING:
        return total
    made = Sum(job.layout, terms, None)
    adds_a_constant(made)
    return made.packed()


def paused_study(group: Group) -> str:
    """A study of four training rounds, the first two of which the hub spoilt: everybody paused."""
    group.hub.cheat = Cheat(adds=spoils_every_training)
    study = group.study(rounds=LAST - TRAINING)
    group.run_to(lambda: len(group.words(StudyPaused, study)) == len(SILOS))
    group.run_to(lambda: all(node.state(study, TRAINING + 1) is not None for node in group.nodes.values()))
    group.rest()
    return study


def charged(node: Node, study: str) -> dict[tuple[str, int], int]:
    return dict(node.charges(study))


def once(*rounds: int) -> dict[tuple[str, int], int]:
    """Each of these rounds reserved and settled once."""
    return {(kind, index): 1 for kind in ("reserve", "settle") for index in rounds}


def owner_resumes(node: Node, study: str) -> None:
    """The owner's own command, beside the running node."""
    done = CliRunner().invoke(app, ["study", "resume", study[:12], "--folder", str(node.folder)])
    assert done.exit_code == 0, done.output


def test_two_void_rounds_are_all_that_a_hub_can_charge_until_the_owners_let_the_study_go_on(group: Group) -> None:
    study = paused_study(group)
    assert [said.round for said in group.words(RoundVoided, study)] == [TRAINING, TRAINING + 1]
    assert {said.issuer for said in group.words(StudyPaused, study)} == {f"silo:{name}" for name in SILOS}
    before = group.nodes["alpha"].state(study, TRAINING - 1) or group.nodes["alpha"].state(study, TRAINING)
    for node in group.nodes.values():
        assert charged(node, study) == once(0, TRAINING, TRAINING + 1)
        assert node.state(study, TRAINING + 1) == before
        assert "paused" in standing(node.silo, record_of(node, study))
        assert [len(node.sent(study, index)) for index in (TRAINING, TRAINING + 1)] == [1, 1]
    assert group.words(RoundOpened, study, TRAINING + 2) == []
    group.honest().rest()
    assert group.words(RoundOpened, study, TRAINING + 2) == [], "an honest hub waits for the owners too"
    for node in group.nodes.values():
        owner_resumes(node, study)
        node.wake()
    group.completed(study)
    assert len(group.words(StudyResumed, study)) == len(SILOS)
    # The round after was opened once a quorum's owners had said so: whoever came fourth joined the one after it.
    (opened,) = group.words(RoundOpened, study, TRAINING + 2)
    for name, node in group.nodes.items():
        missed = set() if name in opened.silos else {opened.round}
        assert charged(node, study) == once(*set(range(LAST + 1)) - missed)
        assert node.state(study, LAST) != before


def test_a_round_opened_for_paused_silos_is_not_charged(group: Group) -> None:
    study = paused_study(group)
    again = {"round": TRAINING + 2, "attempt": 1, "silos": SILOS, "due_at": FAR}
    group.hub.say(RoundOpened, study=study, **again)
    group.run_to(lambda: group.all_halted(study, "rule"))
    group.rest()
    for node in group.nodes.values():
        assert charged(node, study) == once(0, TRAINING, TRAINING + 1)
    assert group.words(SpendReserved, study, TRAINING + 2) == group.words(RoundReady, study, TRAINING + 2) == []


LIES = {
    "a total that a quorum reached": ({"suspended": ()}, "was voided after a quorum had logged one state"),
    "and puts out a silo that nobody blamed": (
        {"suspended": ("alpha",)},
        "was voided with other silos suspended than those that enough blamed",
    ),
}


@pytest.mark.parametrize("what", LIES)
def test_a_hub_does_not_void_at_will(group: Group, what: str) -> None:
    fields, why = LIES[what]
    study, enough = group.study(), 3 if "quorum" in what else 1
    group.run_to(lambda: len(group.who(SumVerified, study, TRAINING)) >= enough)
    group.hub.say(RoundVoided, study=study, round=TRAINING, attempt=1, reason="so it says", **fields)
    group.run_to(lambda: group.all_halted(study, why))
    assert all(node.ended is None for node in group.nodes.values())


def test_after_all_this_an_honest_study_completes_with_the_same_silos(group: Group) -> None:
    group.completed(group.study())
