"""Cosignatures against Go's, and against witnesses and hubs that lie."""

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.cosignature import (
    MAX_AHEAD,
    MAX_LINE_BYTES,
    CosignerKey,
    cosign,
    merge,
    read_cosignature,
    timestamps,
    witnessed,
)
from protocol.signed_note import MAX_SIGNATURES, NoteRefused, VerifierKey, open_note, sign_note, split_note

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "translog_cosignature.json").read_text())
LOG = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
NAME = "log.example/consortium"
NOTE = sign_note(f"{NAME}\n1\n{base64.b64encode(bytes(32)).decode()}\n", NAME, LOG)
OTHER = sign_note(f"{NAME}\n2\n{base64.b64encode(bytes(32)).decode()}\n", NAME, LOG)
NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())
DAY = timedelta(hours=24)
KEYS = [Ed25519PrivateKey.from_private_bytes(bytes([n]) * 32) for n in range(1, 6)]
WITNESSES = [CosignerKey(f"{NAME}/silo/w{n}", key.public_key()) for n, key in enumerate(KEYS)]


def by(place: int, note: str = NOTE, seconds: int = SECONDS) -> str:
    return cosign(note, WITNESSES[place].name, KEYS[place], seconds)


def signed_by(*places: int, seconds: int = SECONDS) -> str:
    return merge(NOTE, [by(place, seconds=seconds) for place in places], WITNESSES)


def line_of(signature: bytes) -> str:
    """Under the first witness's name and id."""
    return f"— {WITNESSES[0].name} {base64.b64encode(WITNESSES[0].key_id + signature).decode()}"


def test_go_s_cosignatures_are_reproduced_and_read() -> None:
    assert VECTORS["cosignatures"]
    for golden in VECTORS["cosignatures"]:
        key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(golden["seed"]))
        cosigner = CosignerKey.parse(golden["cosigner_key"])
        assert cosign(VECTORS["note"], golden["name"], key, golden["seconds"]) == golden["line"]
        assert read_cosignature(VECTORS["note"], golden["line"], cosigner) == golden["seconds"]
        assert str(CosignerKey(golden["name"], key.public_key())) == golden["cosigner_key"]


def test_a_cosigner_key_is_never_taken_for_a_log_s_nor_the_other_way_round() -> None:
    witness, log = WITNESSES[0], VerifierKey(WITNESSES[0].name, WITNESSES[0].public_key)
    assert witness.key_id != log.key_id
    with pytest.raises(NoteRefused, match="of type 4"):
        CosignerKey.parse(str(log))
    with pytest.raises(NoteRefused, match="of type 1"):
        VerifierKey.parse(str(witness))


def test_the_log_s_own_signature_still_opens_a_cosigned_note() -> None:
    text = open_note(signed_by(0, 1, 2), VerifierKey(NAME, LOG.public_key()))
    assert text == split_note(NOTE)[0]


def test_a_note_signature_by_a_witness_is_no_cosignature() -> None:
    plain = sign_note(split_note(NOTE)[0], WITNESSES[0].name, KEYS[0]).splitlines()[-1]
    with pytest.raises(NoteRefused, match="not by"):
        read_cosignature(NOTE, plain, WITNESSES[0])


def test_another_note_s_cosignature_is_refused() -> None:
    with pytest.raises(NoteRefused, match="not one of this checkpoint"):
        read_cosignature(NOTE, by(0, OTHER), WITNESSES[0])
    with pytest.raises(NoteRefused, match="not one of this checkpoint"):
        merge(NOTE, [by(0, OTHER)], WITNESSES)


def test_another_witness_s_cosignature_is_refused() -> None:
    with pytest.raises(NoteRefused, match="not by"):
        read_cosignature(NOTE, by(1), WITNESSES[0])


def test_one_witness_s_signature_under_another_s_name_and_id_is_refused() -> None:
    line = line_of(base64.b64decode(by(1).split(" ")[2])[4:])
    with pytest.raises(NoteRefused, match="not one of this checkpoint"):
        merge(NOTE, [line], WITNESSES)
    stuffed = f"{NOTE}{line}\n"
    assert timestamps(stuffed, WITNESSES) == [None] * 5
    # A good line takes the forged one's place: a hub that stuffs a note can't keep a witness out of it.
    assert timestamps(merge(stuffed, [by(0)], WITNESSES), WITNESSES)[0] == SECONDS


def test_a_time_that_was_altered_is_refused() -> None:
    blob = bytearray(base64.b64decode(by(0).split(" ")[2]))
    blob[11] ^= 1
    line = line_of(bytes(blob[4:]))
    with pytest.raises(NoteRefused, match="not one of this checkpoint"):
        read_cosignature(NOTE, line, WITNESSES[0])


def test_of_one_witness_only_the_newest_line_is_kept() -> None:
    old, new = by(0, seconds=SECONDS), by(0, seconds=SECONDS + 60)
    for lines in ([old, new], [new, old], [new, new]):
        merged = merge(NOTE, lines, WITNESSES)
        assert split_note(merged)[1][1:] == [new]
    assert merge(merge(NOTE, [new], WITNESSES), [old], WITNESSES) == merge(NOTE, [new], WITNESSES)


def test_a_note_with_two_lines_of_one_witness_is_refused() -> None:
    doubled = signed_by(0) + by(0, seconds=SECONDS + 1) + "\n"
    with pytest.raises(NoteRefused, match="two signature lines"):
        witnessed(doubled, WITNESSES, 1, NOW, DAY)


def test_lines_of_unknown_keys_are_left_out() -> None:
    assert merge(NOTE, [by(0), by(4)], WITNESSES[:2]) == merge(NOTE, [by(0)], WITNESSES)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("", "is not '— NAME BASE64'"),
        (by(0).replace("—", "-"), "is not '— NAME BASE64'"),
        (by(0)[:-1], "not base64"),
        (by(0)[:-2] + "B=", "not canonical base64"),
        (f"— {WITNESSES[0].name} ????", "not base64"),
        (line_of(bytes(71)), "71 bytes, 72"),
        (line_of(bytes(72)), "has the time 0"),
        (line_of(b"\xff" * 72), "has the time"),
    ],
)
def test_junk_is_refused_and_the_refusal_says_what_is_wrong(line: str, reason: str) -> None:
    with pytest.raises(NoteRefused, match=reason):
        read_cosignature(NOTE, line, WITNESSES[0])
    with pytest.raises(NoteRefused, match=reason):
        merge(NOTE, [line], WITNESSES)


@pytest.mark.parametrize("seconds", [0, -1, 2**63])
def test_nothing_is_cosigned_at_a_time_that_readers_would_refuse(seconds: int) -> None:
    with pytest.raises(NoteRefused, match="time is from 1"):
        by(0, seconds=seconds)


def test_the_longest_line_of_a_witness_fits_what_the_hub_reads() -> None:
    assert len(cosign(NOTE, "w" * 255, KEYS[0], SECONDS).encode()) < MAX_LINE_BYTES


def test_a_note_takes_as_many_lines_as_readers_read_and_not_one_more() -> None:
    text, own = split_note(NOTE)
    full = (
        text + "\n" + "".join(f"{line}\n" for line in [*own, *(f"— x{n} AAAAAAA=" for n in range(MAX_SIGNATURES - 1))])
    )
    with pytest.raises(NoteRefused, match="at most"):
        merge(full, [by(0)], WITNESSES)


def test_a_quorum_of_fresh_cosignatures_is_one_and_says_until_when() -> None:
    note = merge(NOTE, [by(0, seconds=SECONDS - 7200), by(1, seconds=SECONDS - 3600), by(2)], WITNESSES)
    seen = witnessed(note, WITNESSES, 2, NOW, DAY)
    assert seen.quorate and seen.fresh == tuple(WITNESSES[place].name for place in (0, 1, 2))
    # The oldest of the two newest, one day on.
    assert seen.until == NOW - timedelta(hours=1) + DAY
    assert witnessed(note, WITNESSES, 2, seen.until, DAY).quorate
    assert not witnessed(note, WITNESSES, 2, seen.until + timedelta(seconds=1), DAY).quorate


def test_one_cosignature_too_few_is_no_quorum() -> None:
    seen = witnessed(signed_by(0, 1), WITNESSES, 3, NOW, DAY)
    assert not seen.quorate and len(seen.fresh) == 2


def test_a_quorum_of_none_is_never_reached() -> None:
    assert not witnessed(signed_by(0), WITNESSES, 0, NOW, DAY).quorate
    assert not witnessed(NOTE, [], 0, NOW, DAY).quorate


def test_a_cosignature_from_the_future_does_not_count() -> None:
    ahead = SECONDS + int(MAX_AHEAD.total_seconds())
    assert witnessed(signed_by(0, seconds=ahead), WITNESSES, 1, NOW, DAY).quorate
    assert witnessed(signed_by(0, seconds=ahead + 1), WITNESSES, 1, NOW, DAY).fresh == ()
    assert witnessed(signed_by(0, seconds=2**63 - 1), WITNESSES, 1, NOW, DAY).fresh == ()


def test_one_key_under_two_names_counts_once() -> None:
    twin = CosignerKey("another.example/name", KEYS[0].public_key())
    note = merge(NOTE, [by(0), cosign(NOTE, twin.name, KEYS[0], SECONDS)], [*WITNESSES, twin])
    seen = witnessed(note, [*WITNESSES, twin], 2, NOW, DAY)
    assert len(seen.fresh) == 2 and not seen.quorate


@settings(deadline=None, max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(1, 10)), max_size=12))
def test_however_lines_arrive_a_note_holds_the_newest_of_each_witness(arrived: list[tuple[int, int]]) -> None:
    note, newest = NOTE, dict.fromkeys(range(5))
    for place, seconds in arrived:
        note = merge(note, [by(place, seconds=seconds)], WITNESSES)
        newest[place] = max(newest[place] or 0, seconds)
    assert timestamps(note, WITNESSES) == list(newest.values())
    assert open_note(note, VerifierKey(NAME, LOG.public_key())) == split_note(NOTE)[0]


@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, len(by(0)) - 1), letter=st.characters(exclude_categories=["Cs"]))
def test_a_line_with_one_letter_changed_is_refused(place: int, letter: str) -> None:
    line = by(0)
    changed = line[:place] + letter + line[place + 1 :]
    if changed != line:
        with pytest.raises(NoteRefused):
            read_cosignature(NOTE, changed, WITNESSES[0])
