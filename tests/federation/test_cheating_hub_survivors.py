"""A hub that lies about whose terms a sum holds, or shows silos different sums, to get masks taken off one term.

Not caught, because it is no more than refusing service: a live silo that the hub passes over loses its term, nothing
else. What is caught: everything by which the hub would get a silo's self mask and its mask key, or its update sealed
twice.
"""

from collections.abc import Iterator

import numpy as np
import pytest

from protocol.precision import resolved
from protocol.round_statements import (
    RoundClosed,
    RoundOpened,
    RoundVoided,
    SharesRevealed,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.training_study import tensor_lengths
from silo_node.agent.progress import Progress
from silo_node.errors import HubDistrusted
from silo_node.training.strategies import survivors_weight
from tests.federation.rig.cheating import Cheat
from tests.federation.rig.cheating_reveals import KEY, SELF, all_given, record_of
from tests.federation.rig.cheating_silos import TRAINING, Group, founded_group
from tests.sample_study import SILOS
from tests.unit.silo_node.agent.test_cheats import Sum, adds_a_constant
from tests.whole_states import averaged_update

pytestmark = pytest.mark.slow

OTHERS = SILOS[:3]
FAR = "2099-01-01T00:00:00Z"


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("survivors")) as group:
        yield group


@pytest.fixture
def group(founded: Group) -> Group:
    return founded.honest()


def without_delta(index: int) -> Cheat:
    """A hub that adds, and announces, everybody's terms of a round but delta's, who delivered it like the others."""

    def says(body):
        lies = isinstance(body, SumServed) and body.round == index
        return body.model_copy(update={"survivors": OTHERS}) if lies else body

    return Cheat(whom=lambda job: OTHERS if job.round == index else job.silos, says=says)


def served(group: Group, study: str) -> bool:
    return bool(group.words(SumServed, study, TRAINING))


def parameters_after(group: Group, study: str, survivors: tuple[str, ...]) -> np.ndarray:
    """The model after the first training round over ``survivors``, from the updates as they were before sealing."""
    alpha = group.nodes["alpha"]
    before = Progress.from_bytes(alpha.state(study, TRAINING - 1))
    total = sum(group.nodes[name].runner.given[study, TRAINING] for name in survivors)
    return averaged_update(record_of(alpha, study).contract, before.state, TRAINING, total, survivors).parameters


def rounding(group: Group, study: str, survivors: tuple[str, ...]) -> np.ndarray:
    """What sealing may move each parameter of that model by, at most.

    Stochastic rounding moves a silo's value by less than one level, 2 * 2^e / (2^b - 1) (silo_node.sealing.quantise),
    where b is what four frozen silos leave of a slot, however few survive. The levels of all survivors may err the same
    way, and the mean divides their sum by the survivors' weight.
    """
    alpha = group.nodes["alpha"]
    contract = record_of(alpha, study).contract
    _, bits = resolved(contract.sealing, len(SILOS))
    exponents = Progress.from_bytes(alpha.state(study, TRAINING - 1)).state.exponents
    level = np.repeat(2.0 * 2.0 ** np.array(exponents), tensor_lengths(contract)) / (2**bits - 1)
    return len(survivors) * level / survivors_weight(contract, survivors)


def test_a_live_silo_called_dead_loses_its_term_and_nothing_else(group: Group) -> None:
    group.hub.cheat = without_delta(TRAINING)
    study = group.study()
    group.run_to(lambda: len(group.who(SumVerified, study, TRAINING)) == len(OTHERS))
    group.run_to(lambda: group.nodes["delta"].state(study, TRAINING) is not None)
    states = {node.state(study, TRAINING) for node in group.nodes.values()}
    assert len(states) == 1
    found = Progress.from_bytes(states.pop()).state.parameters
    off = [abs(found - parameters_after(group, study, whose)) for whose in (OTHERS, SILOS)]
    assert (off[0] < rounding(group, study, OTHERS)).all()
    assert (off[1] > rounding(group, study, OTHERS)).any()
    assert "delta" in group.who(UploadComplete, study, TRAINING)
    assert "delta" not in group.who(SurvivorsSigned, study, TRAINING)
    given = all_given(group, "alpha", study, TRAINING)
    assert {(whose, which) for _, whose, which in given} == {*((name, SELF) for name in OTHERS), ("delta", KEY)}
    group.completed(study)
    assert "delta" in group.who(SumVerified, study, TRAINING + 1)


@pytest.mark.parametrize("moment", ["before anybody signs", "after a quorum signed"])
def test_a_second_survivor_list_ends_the_study_before_a_share_is_given(group: Group, moment: str) -> None:
    study = group.study()
    signers = 0 if moment == "before anybody signs" else 3
    group.run_to(lambda: served(group, study) and len(group.who(SurvivorsSigned, study, TRAINING)) >= signers)
    (first,) = group.words(SumServed, study, TRAINING)
    fewer = {"survivors": OTHERS, "chunks": first.chunks, "due_at": FAR}
    group.hub.say(SumServed, study=study, round=TRAINING, attempt=1, **fewer)
    group.run_to(lambda: group.all_halted(study, "was served twice: their difference would be a term"))
    group.rest()
    assert group.words(SharesRevealed, study, TRAINING) == []
    for node in group.nodes.values():
        assert node.state(study, TRAINING) is None
        assert node.ended is None
    sealed_once(group, study)


def sealed_once(group: Group, study: str) -> None:
    for node in group.nodes.values():
        assert len(node.sent(study, TRAINING)) == 1
        assert node.charges(study)["reserve", TRAINING] == 1


def test_one_silo_given_the_true_sum_and_the_others_another_is_not_sealed_from_again(group: Group) -> None:
    """The hub wants alpha to be done with the round, and the others' updates once more, without alpha."""
    honest = {}

    def adds(job, terms, total):
        honest[job.round] = total
        return total

    def serves(who, what, place, read):
        return read(*place) if (what, place[1]) != ("sum", TRAINING) or who == "alpha" else honest[TRAINING - 1]

    group.hub.cheat = Cheat(adds=adds, serves=serves)
    study = group.study()
    group.run_to(lambda: group.who(SurvivorsSigned, study, TRAINING) == {"alpha"})
    group.run_to(lambda: all(group.nodes[name].ended is not None for name in SILOS[1:]))
    for name in SILOS[1:]:
        assert isinstance(group.nodes[name].ended, HubDistrusted)
        assert f"sum of round {TRAINING}: chunk 0 is not what the hub signed for" in group.nodes[name].notes(study)
    assert group.who(SurvivorsSigned, study, TRAINING) == {"alpha"}
    again = {"attempt": 2, "silos": SILOS[1:], "due_at": FAR}
    group.hub.say(RoundOpened, study=study, round=TRAINING, **again)
    group.honest().run_to(lambda: group.all_halted(study, f"round {TRAINING} attempt 2 is out of order"))
    group.rest()
    for node in group.nodes.values():
        assert node.state(study, TRAINING) is None
    assert group.words(SharesRevealed, study, TRAINING) == []
    sealed_once(group, study)


def test_one_silo_given_the_true_sum_of_a_round_that_fails_for_the_others_is_not_sealed_from_again(
    group: Group,
) -> None:
    """The same with a sum that fails: what the hub signed for is the others' sum, so alpha sees that it has another."""
    honest = []

    def adds(job, terms, total):
        if job.round != TRAINING:
            return total
        honest.append(total)
        made = Sum(job.layout, terms, None)
        adds_a_constant(made)
        return made.packed()

    def serves(who, what, place, read):
        return honest[0] if (who, what, place[1]) == ("alpha", "sum", TRAINING) else read(*place)

    group.hub.cheat = Cheat(adds=adds, serves=serves)
    study = group.study()
    alpha = group.nodes["alpha"]
    group.run_to(lambda: served(group, study))
    group.run_to(lambda: alpha.ended is not None, "alpha")
    group.run_to(lambda: bool(group.words(RoundVoided, study)))
    assert isinstance(alpha.ended, HubDistrusted)
    assert group.who(VerificationFailed, study, TRAINING) <= set(SILOS[1:])
    group.honest().completed(study)
    assert group.words(SurvivorsSigned, study, TRAINING) == group.words(SharesRevealed, study, TRAINING) == []
    sealed_once(group, study)


def test_a_silo_shown_another_total_says_nothing_and_follows_once_it_is_shown_the_others(group: Group) -> None:
    other = []

    def adds(job, terms, total):
        other.append(total)
        return total

    def serves(who, what, place, read):
        return other[0] if (who, what, place[1]) == ("alpha", "sum", TRAINING) else read(*place)

    group.hub.cheat = Cheat(adds=adds, serves=serves)
    study = group.study()
    alpha = group.nodes["alpha"]
    group.run_to(lambda: alpha.ended is not None and len(group.who(SumVerified, study, TRAINING)) == 3)
    assert isinstance(alpha.ended, HubDistrusted)
    assert alpha.state(study, TRAINING) is None
    assert "alpha" not in group.who(SurvivorsSigned, study, TRAINING)
    assert group.words(RoundClosed, study, TRAINING) == []
    group.honest().completed(study)
