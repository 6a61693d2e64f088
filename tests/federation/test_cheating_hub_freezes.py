"""A hub that freezes a round over other silos or other words than those that were ready, over HTTP.

Not caught, because it is no more than refusing service: a silo left out of the freeze has no part in the round.
"""

from collections.abc import Iterator

import pytest

from protocol.round_statements import RoundFrozen, SumServed, SumVerified, UploadComplete
from tests.federation.rig.cheating import Cheat
from tests.federation.rig.cheating_silos import TRAINING, Group, founded_group
from tests.sample_study import SILOS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("freezes")) as group:
        yield group


@pytest.fixture
def group(founded: Group) -> Group:
    return founded.honest()


def freezing(change, index: int = TRAINING) -> Cheat:
    """A hub that freezes a round with what ``change`` makes of the silos' ready statements' digests."""

    def says(body):
        lies = isinstance(body, RoundFrozen) and body.round == index
        return body.model_copy(update=change(body)) if lies else body

    return Cheat(says=says)


def exchanges_two_silos_words(body):
    return {"ready": {**body.ready, "bravo": body.ready["charlie"], "charlie": body.ready["bravo"]}}


def makes_up_a_word(body):
    return {"ready": {**body.ready, "delta": "5" * 64}}


def adds_a_silo_that_is_no_member(body):
    return {"ready": {**body.ready, "echo": body.ready["delta"]}}


def builds_on_another_total(body):
    return {"base": "5" * 64}


NAMED = {
    exchanges_two_silos_words: "names a ready statement of bravo that is not in the log",
    makes_up_a_word: "names a ready statement of delta that is not in the log",
    adds_a_silo_that_is_no_member: "names a ready statement of echo that is not in the log",
    builds_on_another_total: "is frozen on another total than the one before",
}


@pytest.mark.parametrize("change", NAMED, ids=lambda change: change.__name__.replace("_", " "))
def test_nothing_is_sealed_for_a_freeze_that_does_not_follow_from_the_log(group: Group, change) -> None:
    group.hub.cheat = freezing(change)
    study = group.study()
    group.run_to(lambda: group.all_halted(study, NAMED[change]))
    group.rest()
    for node in group.nodes.values():
        assert node.sent(study, TRAINING) == set()
        assert node.state(study, TRAINING) is None
        assert node.charges(study)["reserve", TRAINING] == 1
        assert node.ended is None
    assert group.words(UploadComplete, study, TRAINING) == group.words(SumServed, study, TRAINING) == []


def test_a_silo_missing_from_the_freeze_has_no_part_in_the_round_and_follows(group: Group) -> None:
    group.hub.cheat = freezing(lambda body: {"ready": {name: body.ready[name] for name in SILOS[:3]}})
    study = group.study()
    group.completed(study)
    delta = group.nodes["delta"]
    assert delta.sent(study, TRAINING) == set()
    assert group.who(SumVerified, study, TRAINING) == set(SILOS[:3])
    assert group.who(SumVerified, study, TRAINING + 1) == set(SILOS)
