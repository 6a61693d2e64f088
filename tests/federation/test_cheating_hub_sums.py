"""A hub that makes up sums, over HTTP: four real nodes check what it serves, say so, and take nothing of it.

Every sum here is one that the hub signed for as if it were the round's. Most cheats are taken from the unit tests,
where alpha meets each alone. After each the same study goes on to its end, as the hub is honest in its other rounds.
"""

from collections.abc import Iterator

import pytest

from protocol.round_statements import (
    RoundClosed,
    RoundOpened,
    RoundVoided,
    SharesRevealed,
    SumServed,
    SurvivorsSigned,
    VerificationFailed,
)
from protocol.sealing import bfv
from protocol.sealing.parameters import CIPHER_MODULUS, PLAIN_MODULUS
from protocol.study_statements import StudyKeying
from tests.federation.rig.cheating import Cheat
from tests.federation.rig.cheating_nodes import Node
from tests.federation.rig.cheating_silos import TRAINING, Group, founded_group
from tests.unit.silo_node.agent import test_cheats
from tests.unit.silo_node.agent.test_cheats import Sum

pytestmark = pytest.mark.slow

CHEATS = [
    test_cheats.drops_a_term_and_keeps_the_count,
    test_cheats.counts_one_for_another,
    test_cheats.adds_a_constant,
    test_cheats.scales_by_two,
    test_cheats.exchanges_a_seed_for_another,
    test_cheats.replays_the_sum_before,
    test_cheats.cuts_it_short,
]
NOISE_BOUND = CIPHER_MODULUS // PLAIN_MODULUS // 2
"""A coefficient that is off by more decrypts to something else."""
EXPONENTS = {"normalisation_exponent": 7, "training_exponent": 1, "evaluation_exponent": 7}
FAILING = 2
"""Silos of four whose word that a sum fails leaves no quorum of three for it."""


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Group]:
    with founded_group(tmp_path_factory.mktemp("sums")) as group:
        yield group


@pytest.fixture
def group(founded: Group) -> Group:
    return founded.honest()


def making_up(change) -> Cheat:
    """A hub that serves in the first round of training what ``change`` makes of the honest sum."""
    before = []

    def adds(job, terms, total):
        if job.round != TRAINING:
            before.append(total)
            return total
        made = Sum(job.layout, terms, before[-1])
        assert made.packed() == total, "without a cheat it is the honest sum"
        chunk = change(made)
        return made.packed() if chunk is None else chunk

    return Cheat(adds=adds)


def run_into(group: Group, cheat: Cheat, monkeypatch: pytest.MonkeyPatch, **changes) -> str:
    """A study up to where enough silos said that its first training sum fails; nothing of it may be decrypted."""
    group.hub.cheat = cheat
    study = group.study(**changes)
    group.run_to(lambda: bool(group.words(RoundOpened, study, TRAINING)))
    with monkeypatch.context() as patched:
        patched.setattr(bfv.Cipher, "decrypt", lambda *given: pytest.fail("decrypted"))
        group.run_to(lambda: len(group.who(VerificationFailed, study, TRAINING)) >= FAILING)
    return study


def assert_void(group: Group, study: str) -> None:
    """The round changed nothing and cost its charge once; the study goes on to its end under another key."""
    told = group.words(VerificationFailed, study, TRAINING)
    assert {(said.cause, said.blamed) for said in told} == {("sum", ())}
    before = {name: node.state(study, TRAINING - 1) for name, node in group.nodes.items()}
    assert None not in before.values()
    group.completed(study)
    (void,) = group.words(RoundVoided, study)
    assert (void.round, void.suspended) == (TRAINING, ())
    for kind in (SurvivorsSigned, SharesRevealed, RoundClosed):
        assert group.words(kind, study, TRAINING) == []
    assert [said.epoch for said in group.words(StudyKeying, study)] == [1, 2]
    for name, node in group.nodes.items():
        assert node.ended is None
        assert node.state(study, TRAINING) == before[name]
        assert node.charges(study)["reserve", TRAINING] == 1
        assert_sealed_once(node, study)
    for silo in group.who(VerificationFailed, study, TRAINING):
        assert f"warning: round {TRAINING}: sum" in group.nodes[silo].notes(study)


def assert_sealed_once(node: Node, study: str) -> None:
    places = [place for place, _ in node.sent(study, TRAINING)]
    assert len(places) == len(set(places)) > 0
    assert all("attempt 1" in place for place in places)


@pytest.mark.parametrize("cheat", CHEATS, ids=lambda cheat: cheat.__name__.replace("_", " "))
def test_a_made_up_sum_changes_no_model_and_the_study_goes_on(
    group: Group, monkeypatch: pytest.MonkeyPatch, cheat
) -> None:
    assert_void(group, run_into(group, making_up(cheat), monkeypatch))


def test_two_chunks_in_each_others_place_are_noticed(group: Group, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two full chunks, so that neither length nor digest gives the exchange away."""

    def says(body):
        swapped = isinstance(body, SumServed) and body.round == TRAINING
        return body.model_copy(update={"chunks": body.chunks[::-1]}) if swapped else body

    def serves(who, what, place, read):
        study, index, attempt, *position = place
        return read(study, index, attempt, 1 - position[0]) if (what, index) == ("sum", TRAINING) else read(*place)

    wide = {"model": {"family": "mlp", "hidden": [510, 505]}, "sealing": {**EXPONENTS, "values_per_slot": 1}}
    study = run_into(group, Cheat(says=says, serves=serves), monkeypatch, **wide)
    (served,) = group.words(SumServed, study, TRAINING)
    assert len(served.chunks) == 2
    assert_void(group, study)


@pytest.mark.parametrize("shift", [NOISE_BOUND - 200, NOISE_BOUND + 200], ids=["below the bound", "above it"])
def test_who_complains_of_a_shifted_ciphertext_tells_nothing_of_the_noise(
    group: Group, monkeypatch: pytest.MonkeyPatch, shift: int
) -> None:
    """The question of a reaction attack: below the bound the plaintext stays the same, above it doesn't."""

    def change(made):
        made.c0[0, 9] += shift

    study = run_into(group, making_up(change), monkeypatch)
    assert_void(group, study)
    answers = [said.model_dump() for said in group.words(VerificationFailed, study, TRAINING)]
    fixed = {"type", "study", "round", "attempt", "sum", "cause", "blamed"}
    assert {name for said in answers for name in said} - fixed == {"issuer", "issued_at", "nonce", "journal_head"}
    notes = {note for node in group.nodes.values() for note in node.notes(study).splitlines() if "warning: " in note}
    assert len(notes) == 1, notes
