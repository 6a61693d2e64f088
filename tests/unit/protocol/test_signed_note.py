"""Signed notes against Go's sumdb/note, and against junk."""

import base64
import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.signed_note import MAX_NOTE_BYTES, MAX_SIGNATURES, NoteRefused, VerifierKey, open_note, sign_note

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "translog_note.json").read_text())
NAME = "log.example/consortium"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
VERIFIER = VerifierKey(NAME, KEY.public_key())
NOTE = sign_note("one\ntwo\n", NAME, KEY)
LINE = NOTE.split("\n")[-2]


def line_of(name: str, blob: bytes) -> str:
    return f"— {name} {base64.b64encode(blob).decode()}\n"


def test_a_note_published_by_the_go_project_opens() -> None:
    published = VECTORS["published"]
    assert open_note(published["note"], VerifierKey.parse(published["verifier_key"])) == published["text"]


def test_the_go_checksum_database_s_key_id_is_reproduced() -> None:
    text = "sum.golang.org+033de0ae+Ac4zctda0e5eza+HJyk9SxEdh+s3Ux18htTTAD8OuAn8"
    assert str(VerifierKey.parse(text)) == text


def test_signing_reproduces_the_bytes_that_go_signs() -> None:
    golden = VECTORS["checkpoint"]
    key = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(golden["seed"]))
    text = golden["note"].partition("\n\n")[0] + "\n"
    assert sign_note(text, golden["origin"], key) == golden["note"]
    assert str(VerifierKey(golden["origin"], key.public_key())) == golden["verifier_key"]


def test_a_verifier_key_is_the_same_from_a_charter_s_hexadecimal() -> None:
    assert str(VerifierKey.from_hex(NAME, KEY.public_key().public_bytes_raw().hex())) == str(VERIFIER)


@pytest.mark.parametrize("text", ["", "00", "zz" * 32, "00" * 33])
def test_a_hexadecimal_key_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused, match="64 hexadecimal"):
        VerifierKey.from_hex(NAME, text)


def test_a_text_with_blank_lines_is_opened_whole() -> None:
    assert open_note(sign_note("one\n\ntwo\n\n", NAME, KEY), VERIFIER) == "one\n\ntwo\n\n"


def test_signatures_by_unknown_keys_are_ignored_before_and_after() -> None:
    foreign = line_of("witness.example/жар", b"\x00\x01\x02\x03" + bytes(5000))
    text, _, ours = NOTE.rpartition("\n\n")
    assert open_note(text + "\n\n" + foreign + ours, VERIFIER) == "one\ntwo\n"
    assert open_note(NOTE + foreign, VERIFIER) == "one\ntwo\n"


def test_at_least_sixteen_signatures_of_post_quantum_size_are_read() -> None:
    foreign = "".join(line_of(f"witness{n}", b"\x00\x01\x02\x03" + bytes(5000)) for n in range(15))
    assert open_note(NOTE + foreign, VERIFIER) == "one\ntwo\n"


def test_a_key_of_the_same_name_doesn_t_open_the_note() -> None:
    with pytest.raises(NoteRefused, match="no signature by key"):
        open_note(NOTE, VerifierKey(NAME, OTHER_KEY.public_key()))


def test_the_same_key_under_another_name_doesn_t_open_the_note() -> None:
    with pytest.raises(NoteRefused, match="no signature by key"):
        open_note(NOTE, VerifierKey("log.example/other", KEY.public_key()))


def test_another_key_s_signature_under_our_name_and_id_is_refused() -> None:
    forged = VERIFIER.key_id + OTHER_KEY.sign(b"one\ntwo\n")
    with pytest.raises(NoteRefused, match="is wrong"):
        open_note("one\ntwo\n\n" + line_of(NAME, forged), VERIFIER)


@pytest.mark.parametrize(
    ("note", "reason"),
    [
        (NOTE[:-1], "end in a newline"),
        (NOTE + LINE + "\n", "two signature lines"),
        (NOTE + LINE, "end in a newline"),
        (NOTE.replace("\n\n", "\n"), "blank line"),
        ("", "blank line"),
        ("one\ntwo\n", "blank line"),
        ("one\ntwo\n\n", "blank line"),
        (NOTE + "\n", "blank line"),
        (NOTE.replace("—", "-"), "is not '— NAME BASE64'"),
        (NOTE.replace(NAME + " ", NAME + "  "), "is not '— NAME BASE64'"),
        (NOTE + line_of("a+b", bytes(68)), "is not '— NAME BASE64'"),
        (NOTE + line_of("a\u00a0b", bytes(68)), "is not '— NAME BASE64'"),
        (NOTE + "—  AAAAAAAA\n", "is not '— NAME BASE64'"),
        (NOTE + line_of("short", bytes(4)), "at least 5"),
        (NOTE + "— witness AAAAAAA\n", "not base64"),
        (NOTE + "— witness AAAAAAB=\n", "not canonical base64"),
        (NOTE + "— witness ÄÄÄÄÄÄÄÄ\n", "not base64"),
        (NOTE + LINE[:-1] + "\n", "not base64"),
        (NOTE.replace("one", "on\te"), "control character"),
        (NOTE.replace("\n", "\r\n"), "control character"),
        (NOTE.replace("one", "\x00"), "control character"),
        (NOTE.replace("one", "\ud800"), "not valid UTF-8"),
        ("x" * MAX_NOTE_BYTES + NOTE, "at most"),
        (NOTE.replace("one", "é" * (MAX_NOTE_BYTES // 2)), "at most"),
        (NOTE + "".join(line_of(f"w{n}", bytes(68)) for n in range(MAX_SIGNATURES)), "at most"),
    ],
)
def test_junk_is_refused_and_the_refusal_says_what_is_wrong(note: str, reason: str) -> None:
    with pytest.raises(NoteRefused, match=reason):
        open_note(note, VERIFIER)


@pytest.mark.parametrize(
    "text",
    ["", NAME, str(VERIFIER)[:-1], str(VERIFIER) + "\n", str(VERIFIER).replace("+AQ", "+Ag"), f"+{VERIFIER}",
     str(VERIFIER).replace("c0286489", "c0286488"), str(VERIFIER).replace("c0286489", "C0286489"),
     str(VERIFIER).replace(".", " ")],
)  # fmt: skip
def test_a_verifier_key_copied_wrongly_is_refused(text: str) -> None:
    with pytest.raises(NoteRefused):
        VerifierKey.parse(text)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "ключ", "a\n", "x" * 256])
def test_nothing_is_signed_under_a_name_that_readers_would_refuse(name: str) -> None:
    with pytest.raises(NoteRefused, match="key name"):
        sign_note("text\n", name, KEY)


@pytest.mark.parametrize("text", ["", "no newline", "tab\t\n", "return\r\n"])
def test_nothing_is_signed_that_readers_would_refuse(text: str) -> None:
    with pytest.raises(NoteRefused, match="text ends in a newline"):
        sign_note(text, NAME, KEY)


@settings(deadline=None, max_examples=100)
@given(st.text(st.characters(min_codepoint=32, exclude_categories=["Cs"]), max_size=200))
def test_any_text_comes_back_as_it_was_signed(text: str) -> None:
    assert open_note(sign_note(text + "\n", NAME, KEY), VERIFIER) == text + "\n"


@settings(deadline=None, max_examples=200)
@given(place=st.integers(0, len(NOTE) - 1), letter=st.characters(exclude_categories=["Cs"]))
def test_a_note_with_one_letter_changed_is_refused(place: int, letter: str) -> None:
    changed = NOTE[:place] + letter + NOTE[place + 1 :]
    if changed != NOTE:
        with pytest.raises(NoteRefused):
            open_note(changed, VERIFIER)
