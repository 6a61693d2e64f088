"""The journal against what this silo signed: its own memory of it, and the hub's log."""

import sqlite3

import pytest

from protocol.journal import chain_hash
from protocol.period import ALWAYS, Period, parse_period
from protocol.study_statements import StudyPaused
from silo_node.agent.places import Places
from silo_node.agent.review import review
from silo_node.agent.voice import Saying
from silo_node.errors import HubRefused, JournalDamaged
from tests.unit.silo_node.agent.story import begin_study, run_round

PARTY = "silo:alpha"


def reviewed(node, period=ALWAYS):
    return review(node.journal, node.silo.tasks, PARTY, period)


def rows(node):
    return node.journal._db.execute("SELECT entry, hash, CAST(event AS BLOB) FROM journal ORDER BY entry").fetchall()


def rewrite(node, events):
    """As somebody with the disk would who knows the format: the file holds ``events``, chained anew."""
    node.close()
    head = "0" * 64
    with sqlite3.connect(node.folder / "journal.sqlite") as database:
        database.execute("DELETE FROM journal")
        for index, event in enumerate(events, start=1):
            head = chain_hash(head, event)
            database.execute("INSERT INTO journal VALUES (?, ?, ?)", (index, head, event))
    database.close()
    node.open()


def kinds(node):
    return [entry.event.kind for entry in node.journal.entries()]


@pytest.fixture
def spoken(node, peers):
    begin_study(node, peers)
    run_round(node, peers, 0)
    return node


def test_an_honest_journal_holds_all_that_was_signed_and_all_that_is_logged(spoken):
    found = reviewed(spoken)
    said = len(spoken.hub.posted)
    assert (found.entries, found.kept, found.logged) == (len(rows(spoken)), said, said)
    assert found.head == spoken.journal.head()
    assert (found.first, found.last, found.head_then) == (1, found.entries, found.head)


def test_an_edit_that_was_chained_anew_is_found_by_what_was_signed_after_it(spoken):
    events = [event for *_, event in rows(spoken)]
    at = kinds(spoken).index("chunk")
    rewrite(spoken, [*events[:at], events[at].replace(b'"size":', b'"size":1'), *events[at + 1 :]])
    with pytest.raises(JournalDamaged, match="the journal does not hold what this silo signed"):
        reviewed(spoken)
    with pytest.raises(JournalDamaged):
        spoken.start()


@pytest.mark.parametrize("kind", ["decision", "shares", "chunk", "statement"])
def test_an_entry_of_any_kind_that_was_taken_out_is_found(spoken, kind):
    events = [event for *_, event in rows(spoken)]
    at = kinds(spoken).index(kind)
    rewrite(spoken, [*events[:at], *events[at + 1 :]])
    with pytest.raises(JournalDamaged):
        reviewed(spoken)


def test_a_journal_that_was_cut_off_at_any_statement_is_found(spoken):
    events, every = [event for *_, event in rows(spoken)], kinds(spoken)
    newest = len(every) - every[::-1].index("statement")
    for cut in range(newest):
        rewrite(spoken, events[:cut])
        with pytest.raises(JournalDamaged, match="does not hold what this silo signed"):
            reviewed(spoken)
    rewrite(spoken, events)
    assert reviewed(spoken).entries == len(events)


def test_the_log_alone_gives_a_shortened_journal_away_when_the_silos_memory_was_shortened_too(spoken):
    events = [event for *_, event in rows(spoken)]
    rewrite(spoken, events[:-4])
    with sqlite3.connect(spoken.folder / "tasks.sqlite") as database:
        database.execute("DELETE FROM outbox")
    database.close()
    with pytest.raises(JournalDamaged, match="in the log at"):
        reviewed(spoken)


def test_what_was_written_after_the_newest_statement_rests_on_the_journal_alone(spoken):
    spoken.silo.voice.note("decision", "owner: looked", None)
    whole = reviewed(spoken)
    assert whole.logged_through < whole.entries
    rewrite(spoken, [event for *_, event in rows(spoken)][:-1])
    assert reviewed(spoken).entries == whole.entries - 1


def test_a_period_counts_from_its_first_second_until_before_its_end(spoken):
    times = [entry.event.at for entry in spoken.journal.entries()]
    second = times[-1]
    inside = [index for index, at in enumerate(times, start=1) if at >= second]
    found = reviewed(spoken, Period(second, None))
    assert (found.first, found.last) == (inside[0], inside[-1])
    assert reviewed(spoken, Period(None, second)).last == inside[0] - 1


def test_an_empty_period_is_told_with_the_head_before_it(spoken):
    late, early = reviewed(spoken, parse_period("2030-01-01", None)), reviewed(spoken, parse_period(None, "2001-01-01"))
    assert (late.first, late.last, late.head_then) == (late.entries + 1, late.entries, late.head)
    assert (early.first, early.last, early.head_then) == (1, 0, "0" * 64)


# ---- where statements stand


def places(node):
    found = {}
    tell = Places(node.silo.tasks, PARTY, reviewed(node))
    for entry in node.journal.entries():
        if entry.event.kind == "statement":
            found[entry.index] = tell.inclusion(entry.event) or tell.absence(entry.index, entry.event)
    return found


def test_each_statement_is_told_with_its_leaf_and_the_checkpoint_it_was_verified_under(spoken):
    logged = {signed.digest: leaf for leaf, (_, signed) in enumerate(spoken.hub.leaves)}
    entries = {entry.index: entry.event for entry in spoken.journal.entries()}
    for index, place in places(spoken).items():
        assert place.leaf == logged[entries[index].digest]
        assert place.leaf < place.size
        assert place.signed_at == "2026-11-22T00:00:00Z"
        root = spoken.hub.tree.head().root.hex() if place.size == spoken.hub.tree.size else place.root
        assert place.root == root


def test_a_statement_that_the_silo_has_not_found_in_the_log_yet_is_told_so(spoken):
    spoken.silo.voice.say(Saying("late", _paused(spoken)))
    *_, newest = places(spoken).values()
    assert newest == "not in the log yet, as far as this silo has read it"


def test_a_statement_that_the_hub_refused_is_told_from_one_that_waits(spoken):
    spoken.hub.refusing = HubRefused("no", 409)
    with pytest.raises(HubRefused):
        spoken.silo.voice.say(Saying("refused", _paused(spoken)))
    spoken.hub.refusing = None
    spoken.silo.voice.say(Saying("taken", _paused(spoken)))
    spoken.agent.poll(0)
    *_, refused, taken = places(spoken).values()
    assert refused == "NOT IN THE LOG, though later ones are: refused by the hub, or withheld"
    assert taken.leaf == spoken.hub.tree.size - 1


def test_a_statement_that_was_never_kept_is_told_as_never_sent(spoken, monkeypatch):
    def die(name, make):
        make()
        raise KeyboardInterrupt

    monkeypatch.setattr(spoken.silo.tasks, "say_once", die)
    with pytest.raises(KeyboardInterrupt):
        spoken.silo.voice.say(Saying("lost", _paused(spoken)))
    *_, newest = places(spoken).values()
    assert newest == "not in the log: never sent, the node ended before it was kept"


def _paused(node):
    study = next(iter(node.agent._studies.records))
    return lambda opening: StudyPaused(type="study-paused", study=study, reason="two void rounds", **opening)
