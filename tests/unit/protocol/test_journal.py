"""The chain by itself: whatever is done to a journal afterwards is found, by its hashes or by what was signed on it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import canonical
from protocol.errors import ProtocolError
from protocol.ids import MAX_SENTENCE, UNPRINTABLE
from protocol.journal import (
    EMPTY,
    Chain,
    Claim,
    Claims,
    JournalBroken,
    JournalEvent,
    chain_hash,
    event_bytes,
    event_time,
    statement_event,
)
from protocol.journal_export import Header, read_entries, read_header, write_entry, write_header
from protocol.signing import sign
from protocol.study_statements import StudyPaused
from tests.sample_study import NOW, consortium

EVENTS = st.builds(
    JournalEvent,
    at=st.sampled_from(["2026-11-22T12:00:00Z", "2026-11-22T12:00:01Z", "2026-11-23T00:00:00Z"]),
    kind=st.sampled_from(["statement", "chunk", "shares", "blob", "decision", "warning", "halt", "self-test"]),
    what=st.from_regex(f"[^{UNPRINTABLE}\ud800-\udfff]{{1,30}}", fullmatch=True),
    to=st.sampled_from(["hub", "nobody"]),
    study=st.none() | st.just("a" * 64),
    digest=st.none() | st.binary(min_size=32, max_size=32).map(bytes.hex),
    size=st.integers(0, 2**40),
)
JOURNALS = st.lists(EVENTS, min_size=2, max_size=12, unique_by=event_bytes)
HEADER = Header(
    before=EMPTY, charter="c" * 64, first=1, format="consortia-journal/1", silo="alpha", since=None, until=NOW
)


def chained(events, first=1, head=EMPTY):
    rows = []
    for index, event in enumerate(events, start=first):
        head = chain_hash(head, event_bytes(event))
        rows.append((index, head, event_bytes(event)))
    return rows


def walk(rows, claims=()):
    chain, held = Chain(), Claims(claims)
    for row in rows:
        held.take(row[0], chain.take(*row), row[2])
    return held


def signed_on(rows):
    """As if every entry were a statement that stands in the log."""
    heads = [EMPTY, *(row[1] for row in rows)][: len(rows)]
    return [
        Claim(head, canonical.decode(row[2])["digest"], f"entry {row[0]}")
        for head, row in zip(heads, rows, strict=True)
    ]


@given(JOURNALS)
@settings(deadline=None)
def test_an_honest_journal_passes_and_meets_all_that_was_signed(events):
    rows = chained(events)
    held = walk(rows, signed_on(rows))
    assert (held.unmet, held.met) == ([], len(rows))


@given(JOURNALS, st.data())
@settings(deadline=None)
def test_an_edited_event_is_found(events, data):
    rows = chained(events)
    at = data.draw(st.integers(0, len(rows) - 1))
    other = data.draw(EVENTS.filter(lambda event: event_bytes(event) != rows[at][2]))
    rows[at] = (*rows[at][:2], event_bytes(other))
    with pytest.raises(JournalBroken, match=f"journal entry {at + 1} does not fit"):
        walk(rows)


@given(JOURNALS, st.data())
@settings(deadline=None)
def test_one_changed_byte_anywhere_is_found(events, data):
    rows = chained(events)
    at = data.draw(st.integers(0, len(rows) - 1))
    place = data.draw(st.integers(0, len(rows[at][2]) - 1))
    changed = bytearray(rows[at][2])
    changed[place] ^= data.draw(st.integers(1, 255))
    rows[at] = (*rows[at][:2], bytes(changed))
    with pytest.raises(JournalBroken):
        walk(rows)


@given(JOURNALS, st.data())
@settings(deadline=None)
def test_a_removed_entry_is_found_unless_it_is_the_last(events, data):
    rows = chained(events)
    at = data.draw(st.integers(0, len(rows) - 2))
    with pytest.raises(JournalBroken, match=f"journal entry {at + 1} does not fit"):
        walk(rows[:at] + rows[at + 1 :])


@given(JOURNALS, st.data())
@settings(deadline=None)
def test_two_swapped_entries_are_found(events, data):
    rows = chained(events)
    one, other = sorted(data.draw(st.lists(st.integers(0, len(rows) - 1), min_size=2, max_size=2, unique=True)))
    swapped = [row[2] for row in rows]
    swapped[one], swapped[other] = swapped[other], swapped[one]
    with pytest.raises(JournalBroken, match=f"journal entry {one + 1} does not fit"):
        walk([(*row[:2], event) for row, event in zip(rows, swapped, strict=True)])


@given(JOURNALS, EVENTS, st.data())
@settings(deadline=None)
def test_an_inserted_entry_is_found(events, extra, data):
    rows = chained(events)
    at = data.draw(st.integers(0, len(rows) - 1))
    head = rows[at - 1][1] if at else EMPTY
    inserted = (at + 1, chain_hash(head, event_bytes(extra)), event_bytes(extra))
    with pytest.raises(JournalBroken):
        walk([*rows[:at], inserted, *((index + 1, *rest) for index, *rest in rows[at:])])


@given(JOURNALS, st.data())
@settings(deadline=None)
def test_a_journal_chained_anew_after_any_change_contradicts_what_was_signed(events, data):
    """Whoever can write the file can hash it again; only what others hold gives the change away."""
    claims = signed_on(chained(events))
    at = data.draw(st.integers(0, len(events) - 1))
    changed = list(events)
    how = data.draw(st.sampled_from(["cut", "remove", "edit", "insert"]))
    other = data.draw(EVENTS.filter(lambda event: event_bytes(event) not in map(event_bytes, events)))
    if how == "cut":
        changed = changed[:at]
    elif how == "remove":
        del changed[at]
    elif how == "edit":
        changed[at] = other
    else:
        changed.insert(at, other)
    try:
        found = walk(chained(changed), claims).unmet
    except JournalBroken:
        return
    # Nothing was signed on top of the newest statement's entry: its digest is held, its other words aren't.
    newest = len(events) - 1
    assert found or (changed[:newest] == events[:newest] and changed[newest].digest == events[newest].digest)


def test_two_statements_on_one_head_are_two_journals():
    one, other = Claim("1" * 64, "a" * 64, "first"), Claim("1" * 64, "b" * 64, "second")
    Claims([one, one])
    with pytest.raises(JournalBroken, match="first and second carry the same journal head"):
        Claims([one, other])


@given(EVENTS)
@settings(deadline=None)
def test_the_time_of_an_event_is_read_from_its_bytes_alone(event):
    assert event_time(event_bytes(event)) == event.at


def test_bytes_that_do_not_begin_with_a_time_are_no_event():
    with pytest.raises(JournalBroken):
        event_time(b'{"kind":"halt"}')


def test_a_statements_entry_has_all_that_names_it():
    body = StudyPaused(
        type="study-paused", issuer="silo:alpha", issued_at=NOW, nonce="0" * 32, journal_head=EMPTY, study="a" * 64,
        reason="two void rounds",
    )  # fmt: skip
    signed = sign(body, consortium().silos["alpha"].signing)
    event = statement_event(signed)
    assert (event.at, event.what, event.study, event.to) == (NOW, "study-paused", "a" * 64, "hub")
    assert (event.digest, event.size) == (signed.digest, len(signed.wire))


# ---- the file


def exported(rows, header=HEADER):
    return [write_header(header), *(write_entry(*row) for row in rows)]


def read(lines):
    rest = iter(lines)
    header = read_header(rest)
    return header, list(read_entries(header, rest))


@given(JOURNALS)
@settings(deadline=None)
def test_a_written_file_is_read_back(events):
    header, entries = read(exported(chained(events)))
    assert header == HEADER
    assert [entry.event for entry in entries] == events
    assert [entry.before for entry in entries] == [EMPTY, *(entry.hash for entry in entries)][:-1]


@given(JOURNALS, st.data())
@settings(deadline=None)
def test_a_file_with_one_byte_changed_is_refused(events, data):
    """But for what the header says of name, charter and period: those are held against the log, not the chain."""
    lines = exported(chained(events))
    at = data.draw(st.integers(1, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[at]) - 1))
    changed = bytearray(lines[at])
    changed[place] ^= data.draw(st.integers(1, 255))
    with pytest.raises(ProtocolError):
        read([*lines[:at], bytes(changed), *lines[at + 1 :]])


@given(JOURNALS, st.integers(2, 5))
@settings(deadline=None)
def test_a_part_of_a_journal_holds_from_the_hash_before_it(events, first):
    rows = chained(events)[first - 1 :]
    before = ([EMPTY] + [row[1] for row in chained(events)])[min(first, len(events) + 1) - 1]
    header = HEADER.model_copy(update={"first": first, "before": before})
    assert len(read(exported(rows, header))[1]) == len(rows)


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([], "line 1"),
        ([b"\n"], "line 1"),
        ([write_header(HEADER)[:-1]], "cut short"),
        ([write_header(HEADER).replace(b",", b", ", 1)], "canonical"),
        ([write_header(HEADER.model_copy(update={"first": 2}))], "entry 1"),
        ([write_header(HEADER.model_copy(update={"before": "1" * 64}))], "entry 1"),
        ([write_header(HEADER), b"{}\n"], "line 2: not the line of an entry"),
        ([write_header(HEADER), b"x" * 100_000 + b"\n"], "line 2: a line ends in a newline"),
    ],
)
def test_a_file_that_is_no_journal_is_refused_by_line(lines, why):
    with pytest.raises(JournalBroken, match=why):
        read(lines)


def test_an_event_in_another_spelling_is_refused_though_its_hash_fits():
    spelt = b'{"at": "2026-11-22T12:00:00Z","digest":null,"kind":"halt","size":0,"study":null,"to":"nobody","what":"x"}'
    with pytest.raises(JournalBroken, match="line 2: the event is not in canonical form"):
        read([write_header(HEADER), write_entry(1, chain_hash(EMPTY, spelt), spelt)])


def test_the_longest_words_fit_a_line():
    event = JournalEvent(at=NOW, kind="halt", what='"' * MAX_SENTENCE, to="nobody", study="a" * 64, digest=None, size=0)
    assert len(read(exported(chained([event])))[1]) == 1
