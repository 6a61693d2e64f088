import multiprocessing
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from protocol.journal import EMPTY, JournalEvent
from protocol.period import Period
from silo_node.errors import JournalDamaged
from silo_node.journal.chain import Journal


def event(what: str) -> JournalEvent:
    return JournalEvent(
        at="2026-11-22T12:00:00Z", kind="statement", what=what, to="hub", study=None, digest="0" * 64, size=3
    )


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.sqlite"


def test_each_entry_covers_all_before_it(path):
    journal = Journal(path)
    assert journal.head() == EMPTY
    first = journal.record(lambda _: event("one"))
    second = journal.record(lambda _: event("two"))
    assert first == EMPTY
    entries = list(journal.entries())
    assert [entry.event.what for entry in entries] == ["one", "two"]
    assert second == entries[0].hash
    assert journal.head() == entries[1].hash


def test_the_head_is_given_to_whoever_makes_the_entry(path):
    journal = Journal(path)
    heads = []
    for what in ("one", "two"):
        journal.record(lambda head, what=what: heads.append(head) or event(what))
    assert heads == [EMPTY, next(journal.entries()).hash]


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE journal SET event = replace(event, 'two', 'six') WHERE entry = 2",
        "DELETE FROM journal WHERE entry = 2",
        "UPDATE journal SET entry = 7 WHERE entry = 3",
        "UPDATE journal SET hash = '" + "a" * 64 + "' WHERE entry = 3",
    ],
)
def test_an_edited_or_missing_entry_is_found(path, damage):
    journal = Journal(path)
    for what in ("one", "two", "three"):
        journal.record(lambda _, what=what: event(what))
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute(damage)
    with pytest.raises(JournalDamaged):
        list(Journal(path).entries())


def test_an_entry_that_cannot_be_made_leaves_nothing(path):
    journal = Journal(path)

    def fail(_):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        journal.record(fail)
    assert list(journal.entries()) == []
    journal.record(lambda _: event("after"))
    assert len(list(journal.entries())) == 1


def test_what_left_is_found_by_its_name_without_reading_all_entries(path):
    journal = Journal(path)
    for study, kind, what in [
        ("a", "chunk", "round 1 attempt 1 chunk 0"),
        ("a", "chunk", "round 1 attempt 1 chunk 0"),
        ("a", "chunk", "round 1 attempt 1 chunk 11"),
        ("a", "chunk", "round 1 attempt 11 chunk 2"),
        ("a", "decision", "round 1 attempt 1 chunk 3"),
        ("b", "chunk", "round 1 attempt 1 chunk 4"),
    ]:
        made = event(what).model_copy(update={"study": study * 64, "kind": kind})
        journal.record(lambda _, made=made: made)
    asked = []
    journal._db.set_trace_callback(asked.append)
    found = journal.named("a" * 64, "chunk", "round 1 attempt 1 chunk ")
    journal._db.set_trace_callback(None)
    assert found == {"round 1 attempt 1 chunk 0", "round 1 attempt 1 chunk 11"}
    assert journal.named("c" * 64, "chunk", "") == frozenset()
    (plan,) = journal._db.execute(f"EXPLAIN QUERY PLAN {asked[0]}").fetchall()
    assert plan[3].startswith("SEARCH journal USING INDEX journal_what")


def test_a_journal_of_before_the_index_gets_one_when_it_is_opened(path):
    journal = Journal(path)
    made = event("round 1 attempt 1 chunk 0").model_copy(update={"study": "a" * 64, "kind": "chunk"})
    journal.record(lambda _: made)
    journal.close()
    with sqlite3.connect(path) as database:
        database.execute("DROP INDEX journal_what")
    again = Journal(path)
    assert again.named("a" * 64, "chunk", "round 1 ") == {"round 1 attempt 1 chunk 0"}
    assert [entry.event for entry in again.entries()] == [made]


def _write(path, name):
    journal = Journal(path)
    for number in range(25):
        journal.record(lambda _, number=number: event(f"{name} {number}"))


def test_processes_that_write_at_once_make_one_chain(path):
    Journal(path).close()
    context = multiprocessing.get_context("fork")
    writers = [context.Process(target=_write, args=(path, name)) for name in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert len(list(Journal(path).entries())) == 50


def test_only_the_silos_own_user_can_read_the_file(path):
    Journal(path)
    assert path.stat().st_mode & 0o077 == 0


# ---- while it is in use


def test_a_journal_that_is_removed_while_it_is_in_use_takes_no_more_entries(path):
    journal = Journal(path)
    journal.record(lambda _: event("one"))
    path.unlink()
    with pytest.raises(JournalDamaged, match="was removed or replaced while this node ran"):
        journal.record(lambda _: event("two"))
    assert not path.exists()


def test_a_journal_that_is_replaced_while_it_is_in_use_takes_no_more_entries(path, tmp_path):
    journal = Journal(path)
    journal.record(lambda _: event("one"))
    other = Journal(tmp_path / "other.sqlite")
    other.record(lambda _: event("one"))
    other.close()
    (tmp_path / "other.sqlite").replace(path)
    with pytest.raises(JournalDamaged, match="was removed or replaced"):
        journal.record(lambda _: event("two"))


def test_a_journal_that_vanishes_while_an_entry_is_written_lets_nothing_leave(path):
    journal = Journal(path)

    def vanish(_):
        path.unlink()
        return event("one")

    with pytest.raises(JournalDamaged, match="was removed or replaced"):
        journal.record(vanish)


@pytest.mark.parametrize(
    "damage",
    [
        "DELETE FROM journal WHERE entry = 2",
        "DELETE FROM journal",
        "UPDATE journal SET hash = '" + "a" * 64 + "' WHERE entry = 2",
    ],
)
def test_a_journal_that_is_cut_back_while_it_is_in_use_takes_no_more_entries(path, damage):
    journal = Journal(path)
    for what in ("one", "two"):
        journal.record(lambda _, what=what: event(what))
    with sqlite3.connect(path) as database:
        database.execute(damage)
    database.close()
    with pytest.raises(JournalDamaged, match="journal entry 2 is no longer what this node wrote"):
        journal.record(lambda _: event("three"))


def test_what_another_process_of_the_silo_adds_is_no_damage(path):
    journal, other = Journal(path), Journal(path)
    for number in range(3):
        journal.record(lambda _, number=number: event(f"node {number}"))
        other.record(lambda _, number=number: event(f"command {number}"))
    assert len(list(journal.entries())) == 6


def test_a_missing_journal_is_never_made_anew(path):
    with pytest.raises(JournalDamaged, match=r"journal\.sqlite is missing"):
        Journal.existing(path)
    assert not path.exists()


WRITER = """
import os, signal, sys
from pathlib import Path
from protocol.journal import JournalEvent
from silo_node.journal import chain

def event(number):
    words = {"kind": "decision", "what": f"number {number}", "to": "nobody", "study": None, "digest": None, "size": 0}
    return JournalEvent(at="2026-11-22T12:00:00Z", **words)

hash_of, written = chain.chain_hash, []

def dying(*given):
    written.append(1)
    if len(written) == 500:
        os.kill(os.getpid(), signal.SIGKILL)
    return hash_of(*given)

journal = chain.Journal(Path(sys.argv[1]))
journal.record(lambda _: event("before"))
chain.chain_hash = dying
journal.record_all(lambda _: [event(number) for number in range(1000)])
"""


def test_a_process_killed_in_the_middle_of_many_entries_leaves_all_or_none_of_them(path):
    killed = subprocess.run([sys.executable, "-c", WRITER, str(path)], cwd=Path(__file__).parents[4], check=False)
    assert killed.returncode == -signal.SIGKILL
    journal = Journal(path)
    assert [entry.event.what for entry in journal.entries()] == ["number before"]
    journal.record(lambda _: event("after"))
    assert [entry.index for entry in journal.entries()] == [1, 2]


def test_a_part_of_the_journal_is_read_with_the_chain_checked_from_the_first_entry(path):
    journal = Journal(path)
    for number in range(5):
        journal.record(lambda _, number=number: event(f"number {number}"))
    assert [entry.index for entry in journal.entries(2, 4)] == [2, 3, 4]
    with sqlite3.connect(path) as database:
        database.execute("UPDATE journal SET event = replace(event, 'number 0', 'number 9') WHERE entry = 1")
    database.close()
    with pytest.raises(JournalDamaged, match="journal entry 1 does not fit"):
        list(journal.entries(2, 4))


def dated(number: int, study: str) -> JournalEvent:
    at = f"2026-11-{number:02d}T12:00:00Z"
    return JournalEvent(at=at, kind="chunk", what=f"{number}", to="hub", study=study, digest="0" * 64, size=3)


def newest(journal: Journal, first: int = 0, most: int = 9, study: str = "", **period: str) -> tuple[list[str], int]:
    entries, total = journal.newest(Period(**period), study, first, most)
    return [entry.event.what for entry in entries], total


def test_a_period_and_a_study_are_read_newest_first_and_a_part_at_a_time(path):
    journal = Journal(path)
    journal.record_all(lambda _: [dated(number, f"{number % 2}" * 64) for number in range(1, 10)])
    assert newest(journal, 0, 4) == (["9", "8", "7", "6"], 9)
    assert newest(journal, 8, 4) == (["1"], 9)
    assert newest(journal, 9, 4) == ([], 9)
    assert newest(journal, study="11") == (["9", "7", "5", "3", "1"], 5)
    assert newest(journal, study="1%") == newest(journal, study="~") == ([], 0)
    day = {"since": "2026-11-03T12:00:00Z", "until": "2026-11-05T12:00:00Z"}
    assert newest(journal, **day) == (["4", "3"], 2)
    assert newest(journal, study="0", **day) == (["4"], 1)


@pytest.mark.parametrize("field", ["event", "hash"])
def test_an_edited_entry_is_not_shown_even_in_a_part_of_the_journal(path, field):
    journal = Journal(path)
    journal.record_all(lambda _: [dated(number, "1" * 64) for number in range(1, 10)])
    changed = (
        "hash = upper(hash)" if field == "hash" else "event = CAST(replace(event, '\"size\":3', '\"size\":4') AS BLOB)"
    )
    with sqlite3.connect(path) as other:
        other.execute(f"UPDATE journal SET {changed} WHERE entry = 5")  # noqa: S608
    assert newest(journal, 5)[0] == ["4", "3", "2", "1"]
    with pytest.raises(JournalDamaged, match="entry 5 does not fit"):
        newest(journal, 0, 5)
