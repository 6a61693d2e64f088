"""What is put before the witnesses, over both databases."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.audit.checkpoint import CheckpointSigner
from hub.services.identity import Caller
from hub.services.log import LogReader
from hub.services.news import News
from hub.services.pinned_charter import PinnedCharter
from hub.services.recorder import Recorder
from hub.store import candidates, silos
from hub.store.database import Database
from protocol import canonical
from protocol.ids import timestamp
from protocol.signing import Signed, sign
from protocol.study_statements import StudyApproved
from protocol.translog import Checkpoint

NOW = datetime(2026, 11, 22, 3, 29, tzinfo=UTC)
ADMIN = Caller("person:ines", "admin")
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))


@pytest.fixture
def recorder(database: Database) -> Recorder:
    return Recorder(database, lambda _: CheckpointSigner("test/log", KEY), News(), lambda: NOW)


def later(recorder: Recorder, seconds: float) -> Recorder:
    return replace(recorder, clock=lambda: NOW + timedelta(seconds=seconds))


def a_leaf(number: int) -> Signed:
    body = StudyApproved(
        type="study-approved",
        issuer="person:ines",
        issued_at=timestamp(NOW),
        nonce=f"{number:032x}",
        journal_head=None,
        study="a" * 64,
        assertion=None,
    )
    return sign(body, KEY)


def record(recorder: Recorder, number: int) -> None:
    with recorder.transaction() as recording:
        recording.record(a_leaf(number))


def newest(recorder: Recorder) -> candidates.Candidate:
    with recorder.database.reading() as connection:
        found = candidates.newest(connection)
    assert found is not None
    return found


def size_of(candidate: candidates.Candidate) -> int:
    return Checkpoint.parse(candidate.note.partition("\n\n")[0] + "\n").size


def test_the_first_leaf_makes_the_first_candidate_and_the_next_ones_leave_it(recorder: Recorder) -> None:
    record(recorder, 1)
    first = newest(recorder)
    assert size_of(first) == 1
    record(recorder, 2)
    assert newest(recorder) == first


def test_another_charter_makes_another_candidate_at_once(recorder: Recorder) -> None:
    record(recorder, 1)
    with recorder.transaction() as recording:
        silos.add_charter(recording.connection, 1, "c" * 64, "d" * 64)
        recording.record(a_leaf(2))
    found = newest(recorder)
    assert (size_of(found), found.charter) == (2, "c" * 64)


def test_an_old_candidate_gives_way_to_a_new_one_with_or_without_leaves(recorder: Recorder) -> None:
    record(recorder, 1)
    first = newest(recorder)
    # The head was signed a minute ago, so it isn't old; the candidate is.
    record(later(recorder, 3540), 2)
    assert newest(recorder) == first
    assert not later(recorder, 3599).refresh(3600)
    assert later(recorder, 3600).refresh(3600)
    second = newest(recorder)
    assert (second.number, size_of(second)) == (first.number + 1, 2)
    record(later(recorder, 7200), 3)
    assert size_of(newest(recorder)) == 3


def test_a_rolled_back_change_leaves_no_candidate(recorder: Recorder) -> None:
    with pytest.raises(ZeroDivisionError), recorder.transaction() as recording:
        recording.record(a_leaf(1))
        raise ZeroDivisionError
    with recorder.database.reading() as connection:
        assert candidates.newest(connection) is None


def test_candidates_go_once_a_newer_one_is_quorate_unless_they_have_a_timestamp(database: Database) -> None:
    with database.writing() as connection:
        for number in range(1, 5):
            candidates.add(connection, f"note {number}", None, number)
            if number != 1:
                candidates.write_note(connection, number, f"note {number}", 100 + number)
            if number == 2:
                candidates.write_token(connection, number, b"token")
                candidates.write_token(connection, number, b"another")
        candidates.add(connection, "note 5", None, 5)
        assert candidates.state(connection) == (5, False)
        quorate, stamped = candidates.newest_quorate(connection), candidates.newest_stamped(connection)
        assert quorate is not None and stamped is not None
        assert (quorate.note, quorate.quorate_at, stamped.note, stamped.token) == ("note 4", 104, "note 2", b"token")
        assert [one.number for one in candidates.all_stamped(connection)] == [2]
        kept = connection.exec_driver_sql("SELECT number FROM log_candidates ORDER BY number").scalars()
        assert list(kept) == [2, 4, 5]


def test_a_poll_says_whether_another_candidate_stands_than_the_one_that_is_held(recorder: Recorder) -> None:
    record(recorder, 1)
    reader = LogReader(recorder.database, PinnedCharter(recorder.database), recorder.news)
    answer, news = reader.follow(ADMIN, 1)
    assert answer.candidate == newest(recorder).note and not news
    held = canonical.digest(answer.candidate.encode())
    assert not reader.follow(ADMIN, 1, held)[1]
    assert reader.follow(ADMIN, 1, "0" * 64)[1]
    with recorder.database.writing() as connection:
        candidates.write_note(connection, 1, answer.candidate + "— more AAAAAAA=\n", 5)
    assert reader.follow(ADMIN, 1, held)[1]
    assert reader.state() == (1, 1, True)
