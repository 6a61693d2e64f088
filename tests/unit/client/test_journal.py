"""A silo's exported journal against what the log holds of it: each way to mend a journal, found."""

import pytest

from client.errors import AuditFailed
from client.journal import Logged, check_journal, logged_of, open_journal
from protocol.chain import study_of
from protocol.export import RecordedLeaf
from protocol.journal import EMPTY, JournalEvent, chain_hash, event_bytes, statement_event
from protocol.journal_export import Header, write_entry, write_header
from protocol.membership_statements import Enrolment
from protocol.signing import sign
from protocol.study_statements import StudyPaused
from protocol.translog import LogEntry
from tests.sample_study import consortium, party

GROUP = consortium()
KEY = GROUP.silos["alpha"].signing
FOUNDING, STUDY = "f" * 64, "a" * 64


def at(second):
    return f"2026-11-22T12:00:{second:02d}Z"


class Silo:
    """Keeps a journal as a silo does. One entry a second: a chunk, then a statement, and so on."""

    def __init__(self):
        self.events, self.rows, self.signed, self.heads = [], [], [], [EMPTY]

    def write(self, event):
        self.events.append(event)
        self.heads.append(chain_hash(self.heads[-1], event_bytes(event)))
        self.rows.append((len(self.rows) + 1, self.heads[-1], event_bytes(event)))

    def chunk(self):
        second = len(self.rows)
        what = f"round 1 attempt 1 chunk {second}"
        self.write(
            JournalEvent(at=at(second), kind="chunk", what=what, to="hub", study=STUDY, digest=f"{second:064x}", size=9)
        )

    def say(self):
        second = len(self.rows)
        body = StudyPaused(
            type="study-paused", issuer="silo:alpha", issued_at=at(second), nonce=f"{second:032x}",
            journal_head=self.heads[-1], study=STUDY, reason="two void rounds",
        )  # fmt: skip
        self.signed.append(sign(body, KEY))
        self.write(statement_event(self.signed[-1]))

    def logged(self, but=()):
        kept = [one for number, one in enumerate(self.signed) if number not in but]
        return Logged({one.digest: (leaf, one) for leaf, one in enumerate(kept)}, {})

    def export(self, first=1, last=None, since=None, until="2026-11-22T12:00:59Z", rows=None):
        rows = (rows or self.rows)[first - 1 : last]
        header = Header(
            before=self.heads[first - 1], charter=FOUNDING, first=first, format="consortia-journal/1", silo="alpha",
            since=since, until=until,
        )  # fmt: skip
        return [write_header(header), *(write_entry(*row) for row in rows)]


@pytest.fixture
def silo():
    made = Silo()
    for _ in range(4):
        made.chunk()
        made.say()
    return made


def check(lines, logged, founding=FOUNDING):
    rest = iter(lines)
    return check_journal(open_journal(rest), rest, logged, founding)


def rechained(events):
    rows, head = [], EMPTY
    for index, event in enumerate(events, start=1):
        head = chain_hash(head, event_bytes(event))
        rows.append((index, head, event_bytes(event)))
    return rows


def test_an_honest_journal_is_confirmed_and_fixed_by_the_log(silo):
    silo.chunk()
    checked = check(silo.export(), silo.logged())
    assert (checked.confirmed, checked.fixed_through, checked.last) == (4, 8, 9)
    assert (checked.begins, checked.ends, checked.doubtful) == (True, False, [])
    assert checked.kinds == {"chunk": 5, "statement": 4}
    assert checked.sizes["chunk"] == 45


@pytest.mark.parametrize("lost", range(8))
def test_an_entry_that_was_taken_out_and_the_rest_chained_anew_is_found(silo, lost):
    events = silo.events[:lost] + silo.events[lost + 1 :]
    with pytest.raises(AuditFailed):
        check(silo.export(rows=rechained(events)), silo.logged())


@pytest.mark.parametrize("place", range(8))
def test_an_entry_that_was_slipped_in_before_a_statement_is_found(silo, place):
    extra = silo.events[0].model_copy(update={"digest": "e" * 64})
    events = [*silo.events[:place], extra, *silo.events[place:]]
    with pytest.raises(AuditFailed):
        check(silo.export(rows=rechained(events)), silo.logged())


@pytest.mark.parametrize("place", range(8))
def test_an_entry_with_other_words_is_found(silo, place):
    events = [*silo.events]
    events[place] = events[place].model_copy(update={"what": "something else"})
    with pytest.raises(AuditFailed):
        check(silo.export(rows=rechained(events)), silo.logged())


@pytest.mark.parametrize("last", range(1, 8))
def test_a_journal_that_was_cut_off_before_a_logged_statement_is_found(silo, last):
    with pytest.raises(AuditFailed, match="its journal does not have it"):
        check(silo.export(last=last), silo.logged())


def test_what_came_after_the_newest_logged_statement_is_not_proved_and_that_is_said(silo):
    for _ in range(3):
        silo.chunk()
    cut = check(silo.export(last=9), silo.logged())
    assert (cut.fixed_through, cut.last, cut.ends) == (8, 9, False)


def test_a_period_is_checked_from_the_hash_before_it_and_shows_that_its_ends_are_whole(silo):
    checked = check(silo.export(3, 7, since=at(3), until=at(6)), silo.logged())
    assert (checked.begins, checked.ends) == (True, True)
    assert checked.kinds == {"statement": 2, "chunk": 1}


def test_a_period_whose_first_entry_is_inside_may_lack_earlier_ones_and_that_is_said(silo):
    silo.logged()
    assert not check(silo.export(5, 7, since=at(4), until=at(6)), silo.logged()).begins


def test_a_statement_of_the_period_that_its_file_begins_after_is_missed(silo):
    with pytest.raises(AuditFailed, match="its journal does not have it"):
        check(silo.export(5, 8, since=at(1), until=at(8)), silo.logged())


def test_a_statement_newer_than_the_journals_period_is_not_missed(silo):
    lines, until = silo.export(until=at(8)), silo.logged()
    silo.say()
    until.statements.update(silo.logged().statements)
    assert check(lines, until).confirmed == 4


def test_a_statement_that_the_log_has_not_is_named_and_a_refused_one_is_told_apart(silo):
    logged = silo.logged(but=(1, 3))
    logged.refused[silo.signed[1].digest] = 17
    checked = check(silo.export(), logged)
    assert [(one.index, one.refusal) for one in checked.doubtful] == [(4, 17), (8, None)]
    assert checked.fixed_through == 6


def test_two_logged_statements_on_one_head_are_two_journals(silo):
    logged, body = silo.logged(), silo.signed[2].body.model_copy(update={"nonce": "9" * 32})
    other = sign(body, KEY)
    logged.statements[other.digest] = (99, other)
    with pytest.raises(AuditFailed, match="there are two journals"):
        check(silo.export(), logged)


def test_a_logged_statement_without_a_head_fails(silo):
    logged, body = silo.logged(), silo.signed[2].body.model_copy(update={"journal_head": None})
    other = sign(body, KEY)
    logged.statements[other.digest] = (99, other)
    with pytest.raises(AuditFailed, match=r"leaf 99: .* carries no journal head"):
        check(silo.export(), logged)


def test_a_journal_of_another_consortium_is_refused(silo):
    with pytest.raises(AuditFailed, match="another consortium"):
        check(silo.export(), silo.logged(), "e" * 64)


def test_one_changed_byte_is_found_in_every_line(silo):
    lines = silo.export()
    for number in range(1, len(lines)):
        changed = bytearray(lines[number])
        changed[len(changed) // 2] ^= 1
        with pytest.raises(AuditFailed, match=f"line {number + 1}: "):
            check([*lines[:number], bytes(changed), *lines[number + 1 :]], silo.logged())


def recorded(index, signed, kind=None, issuer=None):
    entry = LogEntry(
        kind=kind or signed.body.type, digest=signed.digest, issuer=issuer or signed.body.issuer,
        study=study_of(signed.body), round=None, recorded_at=at(0),
    )  # fmt: skip
    return RecordedLeaf(index, entry, None if kind == "refusal" else signed.wire, entry.leaf_hash())


def test_of_an_export_the_silos_own_statements_and_refusals_count_and_no_strangers_enrolment(silo):
    def enrolment(keys):
        body = Enrolment(
            type="enrolment", issuer="silo:alpha", issued_at=at(0), nonce="0" * 32, journal_head=EMPTY, silo="alpha",
            charter=FOUNDING, **keys,
        )  # fmt: skip
        return sign(body, KEY)

    mine, stranger = enrolment(GROUP.silos["alpha"].public), enrolment(party("other").public)
    first, second, other, _ = silo.signed
    leaves = [
        recorded(0, stranger),
        recorded(1, mine),
        recorded(2, first),
        recorded(3, second, "refusal"),
        recorded(4, other, None, "silo:beta"),
    ]
    found = logged_of("alpha", leaves, frozenset([GROUP.silos["alpha"].public["signing_key"]]))
    assert {digest: leaf for digest, (leaf, _) in found.statements.items()} == {mine.digest: 1, first.digest: 2}
    assert found.refused == {second.digest: 3}
