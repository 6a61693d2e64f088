"""Rounds of which nothing counts, keys that change, silos that pause: what the record allows, and what it doesn't."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.keying import convicted, next_holders, tolerated
from protocol.study_statements import SecretCommitment, StudyPaused, StudyResumed, StudyWithdrawn
from tests.sample_study import SILOS, contract
from tests.unit.protocol.test_record import keyed

THREE = SILOS[:3]
PAUSE = {"reason": "two rounds came to nothing"}


def served(index=1):
    """A study whose round ``index`` has a served sum."""
    script = keyed()
    for earlier in range(index):
        script.whole_round(earlier)
    return script.open(index).freeze(index).upload(index).serve(index)


def voided(index=1):
    return served(index).fail(index, alpha=(), bravo=()).void(index)


def paused():
    """Round 1 and 2 were void, and alpha paused."""
    script = voided(1).key_again(2).open(2).freeze(2).upload(2).serve(2).fail(2, alpha=(), bravo=()).void(2)
    return script.word(StudyPaused, "alpha", **PAUSE)


def test_after_a_void_round_the_study_goes_on_under_another_key():
    script = voided().key_again(2)
    for index in (2, 3):
        script.whole_round(index)
    assert script.broken is None
    record = script.record
    assert [record.rounds[index].keying.epoch for index in range(4)] == [1, 1, 2, 2]
    assert (record.complete_through, record.closed_through) == (3, 3)
    assert (record.rounds[1].over, record.rounds[1].closed) == (True, None)
    assert dict(record.void_rounds) == dict.fromkeys(SILOS, 1)


def test_a_void_round_counts_for_the_silos_whose_updates_went_into_it():
    script = keyed().whole_round().open(1).freeze(1).upload(1, silos=THREE).serve(1, survivors=THREE)
    script.fail(1, alpha=()).void(1)
    assert script.broken is None
    assert dict(script.record.void_rounds) == dict.fromkeys(THREE, 1)


def test_the_silos_that_uploaded_last_come_first_and_make_the_key():
    script = keyed().whole_round().open(1).freeze(1).upload(1, silos=SILOS[1:]).serve(1, survivors=SILOS[1:])
    script.fail(1, bravo=()).void(1).key_again(2, silos=(*SILOS[1:], "alpha"))
    assert script.broken is None
    assert script.record.keyings[-1].key_silo == "bravo"


def test_where_the_key_silo_has_not_committed_another_may_make_the_key():
    script = keyed().whole_round().open(1).freeze(1).upload(1).serve(1).fail(1, alpha=(), bravo=()).void(1)
    script.key(epoch=2).commit(2, silos=SILOS[1:2]).key_again(3, silos=(*SILOS[1:], "alpha")).open(2)
    assert script.broken is None
    assert script.record.keyings[-1].key_silo == "bravo"


def test_a_silo_that_enough_others_blame_is_out_with_the_void_round():
    script = served().unmask(1, silos=THREE).fail(1, alpha=("charlie",), bravo=("charlie",))
    script.void(1, suspended=("charlie",)).key_again(2, silos=("alpha", "bravo", "delta"))
    assert script.broken is None
    assert script.record.suspended == {"charlie"}


def test_a_paused_silo_shares_the_key_and_is_in_no_round_until_it_resumes():
    script = paused().key_again(3)
    others = SILOS[1:]
    script.open(3, silos=others).freeze(3).upload(3, silos=others).serve(3, survivors=others)
    assert script.broken is None
    assert (script.record.paused, script.record.pauses["alpha"]) == ({"alpha"}, 1)


def test_with_its_owners_word_a_silo_is_in_the_next_round_and_its_count_begins_anew():
    script = paused().key_again(3).word(StudyResumed, "alpha").open(3)
    assert script.broken is None
    assert (script.record.paused, script.record.void_rounds["alpha"], script.record.void_rounds["bravo"]) == (
        set(),
        0,
        2,
    )


@pytest.mark.parametrize(
    ("play", "rule"),
    [
        (lambda: voided(0), "rule 9"),
        (lambda: served(3).fail(3, alpha=(), bravo=()).void(3), "rule 9"),
        (lambda: keyed().whole_round().open(1).freeze(1).upload(1).void(1), "rule 9"),
        (lambda: keyed().whole_round().whole_round(1).void(1), "rule 9"),
        (lambda: voided().void(1), "rule 9"),
        (lambda: served().unmask(1).verify(1, macs={"delta": None}).void(1), "rule 9"),
        (lambda: served().fail(1, alpha=("bravo",)).void(1, suspended=("bravo",)), "rule 9"),
        (lambda: served().fail(1, alpha=("bravo",), charlie=("bravo",)).void(1), "rule 9"),
        (lambda: served().unmask(1).fail(1, alpha=()).void(1).verify(1).close(1), "rule 9"),
        (lambda: voided().open(2), "rule 3"),
        (lambda: voided().key_again(3), "rule 3"),
        (lambda: voided().key_again(2, silos=THREE), "rule 3"),
        (lambda: voided().key_again(2, silos=SILOS[::-1]), "rule 3"),
        (lambda: voided().key_again(2).key_again(3), "rule 3"),
        (lambda: voided().key(epoch=2).key_again(3), "rule 3"),
        (lambda: served().word(StudyWithdrawn, "delta", reason="x").key_again(2, silos=THREE), "rule 3"),
        (lambda: keyed().whole_round().word(StudyWithdrawn, "delta", reason="x").open(1), "rule 3"),
        (lambda: voided().word(SecretCommitment, "alpha", epoch=1, commitment="6" * 64), "rule 4"),
        (lambda: voided().key(epoch=2).word(SecretCommitment, "alpha", epoch=1, commitment="6" * 64), "rule 4"),
        (lambda: voided().key(epoch=2).open(2), "rule 4"),
        (lambda: paused().key_again(3).open(3), "rule 5"),
        (lambda: paused().word(StudyPaused, "alpha", **PAUSE), "rule 2"),
        (lambda: voided().word(StudyResumed, "alpha"), "rule 2"),
        (lambda: keyed().word(StudyPaused, "echo", **PAUSE), "rule 2"),
    ],
)
def test_a_hub_or_silo_that_breaks_a_rule_of_void_rounds_is_caught_with_the_rule_named(play, rule):
    broken = play().broken
    assert broken is not None
    assert broken.startswith(rule)


def test_how_many_may_collude_is_what_the_contract_promises():
    promised = {(3, 3): 1, (4, 3): 1, (5, 4): 2, (6, 4): 1, (7, 7): 5}
    for (silos, quorum), most in promised.items():
        agreed = contract()
        schedule = agreed.schedule.model_copy(update={"quorum": quorum})
        terms = tuple(agreed.silos[0].model_copy(update={"silo": f"silo-{at}"}) for at in range(silos))
        assert tolerated(agreed.model_copy(update={"schedule": schedule, "silos": terms})) == most


names = st.sampled_from(["alpha", "bravo", "charlie", "delta", "echo"])


@given(st.dictionaries(names, st.lists(names, max_size=4), max_size=5), st.sets(names, max_size=2))
def test_colluders_that_are_tolerated_never_put_an_honest_silo_out(blames, colluders):
    honest = {name: [other for other in blamed if other in colluders] for name, blamed in blames.items()}
    lying = {name: blamed if name in colluders else honest[name] for name, blamed in blames.items()}
    assert set(convicted(lying, len(colluders))) <= colluders


@given(st.lists(names, unique=True, min_size=1), st.sets(names), st.sets(names), st.sets(names))
def test_the_next_holders_are_those_left_present_ones_first_silent_ones_last(holders, gone, present, silent):
    found = next_holders(holders, gone, present, silent)
    assert set(found) == set(holders) - gone
    ranks = [(silo in silent, silo not in present, holders.index(silo)) for silo in found]
    assert ranks == sorted(ranks)


def test_an_owners_word_of_an_earlier_pause_does_not_end_a_later_one():
    script = paused().key_again(3)
    resumed = script.say(StudyResumed, "silo:alpha")
    assert script.broken is None
    script.say(StudyPaused, "silo:alpha", **PAUSE)
    script.record_again(resumed)
    assert script.broken == "rule 2: study-resumed of silo:alpha was recorded before; it counts once"
    assert script.record.paused == {"alpha"}
