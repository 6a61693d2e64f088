"""The exported log as an officer reads it; whoever handed over the file is the adversary."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol import canonical
from protocol.export import MAX_LINE_CHARS, ExportRefused, read_export, verify_tree, write_export
from protocol.translog import Checkpoint, LogEntry, TreeHead, VerifierKey, sign_checkpoint, tree_root

ORIGIN = "log.example/consortium"
KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
VERIFIER = VerifierKey(ORIGIN, KEY.public_key())
TRUSTED = str(VERIFIER)
CHARTERS = ("aa" * 32, "bb" * 32)
NOW = datetime(2026, 11, 22, 3, 29, tzinfo=UTC)
TEXTS = ['{"body":{"purpose":"Stäbchen \\u0000 \u2028 \\\\"}}', "", "plain\n\ntext", "x" * 2000, "🙂"]


def entry(text: str) -> LogEntry:
    return LogEntry(
        kind="study-approved",
        digest=canonical.digest(text.encode()),
        issuer="person:ada",
        study=None,
        round=None,
        recorded_at="2026-11-22T03:29:00Z",
    )


def note_over(entries: list[LogEntry], charter: str | None = CHARTERS[-1], origin: str = ORIGIN) -> str:
    head = TreeHead(len(entries), tree_root([leaf.leaf_hash() for leaf in entries]))
    return sign_checkpoint(Checkpoint.stamped(origin, head, charter, NOW), ORIGIN, KEY)


def exported(texts: list[str] = TEXTS, charters: tuple[str, ...] = CHARTERS) -> list[str]:
    leaves = [(entry(text), text.encode()) for text in texts]
    return list(write_export(note_over([leaf for leaf, _ in leaves]), VERIFIER, charters, leaves))


def changed(line: str, edit: Callable[[dict[str, Any]], object]) -> str:
    value = json.loads(line)
    edit(value)
    return canonical.encode(value).decode() + "\n"


def refusal(lines: list[str], trusted: str = TRUSTED) -> ExportRefused:
    with pytest.raises(ExportRefused) as caught:
        verify_tree(read_export(lines), trusted)
    return caught.value


def test_a_log_comes_back_as_it_was_recorded() -> None:
    verified = verify_tree(read_export(exported()), TRUSTED)
    assert list(verified.records()) == [(n, entry(text), text.encode()) for n, text in enumerate(TEXTS)]
    assert (verified.checkpoint.size, verified.checkpoint.charter) == (len(TEXTS), CHARTERS[-1])


def test_the_file_survives_a_disk(tmp_path: Any) -> None:
    path = tmp_path / "log.jsonl"
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(exported())
    with path.open(encoding="utf-8", newline="\n") as file:
        assert verify_tree(read_export(file), TRUSTED).checkpoint.size == len(TEXTS)


def test_the_header_is_the_format_that_is_documented() -> None:
    header = json.loads(exported()[0])
    assert set(header) == {"format", "checkpoint", "log_key", "charters", "witnessed", "timestamp"}
    assert (header["format"], header["log_key"]) == ("consortia-log/2", TRUSTED)
    assert set(json.loads(exported()[1])) == {"leaf", "statement"}


def test_an_empty_log_before_any_charter_verifies() -> None:
    lines = list(write_export(note_over([], charter=None), VERIFIER, (), []))
    assert list(verify_tree(read_export(lines), TRUSTED).records()) == []


def test_a_statement_that_is_withheld_verifies_and_shows_as_missing() -> None:
    lines = exported()
    lines[2] = changed(lines[2], lambda leaf: leaf.update(statement=None))
    assert [recorded for _, _, recorded in verify_tree(read_export(lines), TRUSTED).records()][1] is None


def test_an_altered_statement_is_refused_with_its_line() -> None:
    lines = exported()
    lines[4] = changed(lines[4], lambda leaf: leaf.update(statement="altered"))
    error = refusal(lines)
    assert error.line == 5
    assert str(error).startswith("line 5: the statement's SHA-256 is not the leaf's digest")


def test_a_statement_altered_together_with_its_leaf_changes_the_root() -> None:
    lines = exported()
    forged = canonical.digest(b"forged")
    lines[4] = changed(lines[4], lambda leaf: (leaf.update(statement="forged"), leaf["leaf"].update(digest=forged)))
    assert "don't add up" in str(refusal(lines))


@pytest.mark.parametrize(
    ("rearranged", "line", "reason"),
    [
        (lambda lines: lines[:-1], len(TEXTS) + 1, "5 leaves, the file has 4"),
        (lambda lines: lines[:1], 2, "5 leaves, the file has 0"),
        (lambda lines: [*lines, lines[-1]], len(TEXTS) + 2, "5 leaves, the file has 6"),
        (lambda lines: [lines[0], lines[2], lines[1], *lines[3:]], 1, "don't add up"),
        (lambda lines: [*lines[:-1], lines[1]], 1, "don't add up"),
    ],
)
def test_leaves_dropped_added_or_moved_are_refused(
    rearranged: Callable[[list[str]], list[str]], line: int, reason: str
) -> None:
    error = refusal(rearranged(exported()))
    assert error.line == line
    assert reason in str(error)


def test_another_log_key_than_the_trusted_one_is_refused_at_the_header() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    error = refusal(exported(), str(VerifierKey(ORIGIN, other.public_key())))
    assert error.line == 1
    assert "trusted is" in str(error)
    assert "verifier key" in str(refusal(exported(), "log.example/consortium"))


def test_a_header_can_t_name_the_trusted_key_over_another_s_signature() -> None:
    other = Ed25519PrivateKey.from_private_bytes(bytes(32))
    leaves = [entry("x")]
    head = TreeHead(1, tree_root([leaves[0].leaf_hash()]))
    note = sign_checkpoint(Checkpoint.stamped(ORIGIN, head, CHARTERS[-1], NOW), ORIGIN, other)
    assert "no signature by key" in str(refusal(list(write_export(note, VERIFIER, CHARTERS, [(leaves[0], b"x")]))))


def test_a_checkpoint_of_another_log_signed_with_this_key_is_refused() -> None:
    lines = list(write_export(note_over([], origin="log.example/other"), VERIFIER, CHARTERS, []))
    assert "of log log.example/other" in str(refusal(lines))


@pytest.mark.parametrize("charters", [[], CHARTERS[:1], CHARTERS[::-1]])
def test_a_charter_chain_that_ends_elsewhere_than_the_checkpoint_is_refused(charters: list[str]) -> None:
    lines = exported()
    lines[0] = changed(lines[0], lambda header: header.update(charters=list(charters)))
    error = refusal(lines)
    assert error.line == 1
    assert "names charter" in str(error)


GOOD = exported()[1]


@pytest.mark.parametrize(
    "bad",
    [
        "\n",
        "{}\n",
        "[]\n",
        "nonsense\n",
        GOOD[:-1],
        GOOD[:40] + "\n",
        GOOD.rstrip("\n") + "\r\n",
        " " + GOOD,
        GOOD[:-2] + ',"statement":"twice"}\n',
        GOOD.replace('"statement":', '"statement": '),
        GOOD.replace("study-approved", "study\\u002dapproved"),
        changed(GOOD, lambda leaf: leaf.update(note="patient 12")),
        changed(GOOD, lambda leaf: leaf["leaf"].update(note="patient 12")),
        changed(GOOD, lambda leaf: leaf["leaf"].pop("round")),
        changed(GOOD, lambda leaf: leaf.pop("statement")),
        changed(GOOD, lambda leaf: leaf.update(statement=7)),
        changed(GOOD, lambda leaf: leaf["leaf"].update(digest="AB" * 32)),
        '{"leaf":' * 50_000 + "\n",
        GOOD.replace("Stäbchen", "\\ud800"),
        GOOD.replace("Stäbchen", "\ud800"),
        GOOD.replace("Stäbchen", "x" * MAX_LINE_CHARS),
    ],
)
def test_a_line_that_is_no_leaf_is_refused_with_its_number(bad: str) -> None:
    lines = exported()
    lines[3] = bad
    with pytest.raises(ExportRefused, match=r"^line 4: ") as caught:
        read_export(lines)
    assert "patient 12" not in str(caught.value)


@pytest.mark.parametrize(
    "bad",
    [
        GOOD,
        changed(exported()[0], lambda header: header.update(format="consortia-log/1")),
        changed(exported()[0], lambda header: header.update(charters=["AA" * 32])),
        changed(exported()[0], lambda header: header.update(extra=1)),
        changed(exported()[0], lambda header: header.pop("log_key")),
    ],
)
def test_a_header_of_another_kind_is_refused_at_line_1(bad: str) -> None:
    with pytest.raises(ExportRefused, match=r"^line 1: not a header line"):
        read_export([bad, *exported()[1:]])


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(ExportRefused, match="the file is empty"):
        read_export([])


@pytest.mark.parametrize(
    ("recorded", "reason"), [(b"\xff\xfe", "is not UTF-8"), (b"x" * MAX_LINE_CHARS, "characters, at most")]
)
def test_what_couldn_t_be_read_back_is_not_written(recorded: bytes, reason: str) -> None:
    lines = write_export(note_over([]), VERIFIER, CHARTERS, [(entry("x"), b"x"), (entry("y"), recorded)])
    with pytest.raises(ExportRefused, match=f"^line 3: .*{reason}"):
        list(lines)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=50), max_size=12))
def test_any_texts_are_written_and_verified(texts: list[str]) -> None:
    verified = verify_tree(read_export(exported(texts)), TRUSTED)
    assert [recorded for _, _, recorded in verified.records()] == [text.encode() for text in texts]


@settings(deadline=None, max_examples=150)
@given(st.data())
def test_no_single_letter_of_the_file_can_be_changed(data: st.DataObject) -> None:
    lines = exported(["one", "two", "three"], CHARTERS[-1:])
    number = data.draw(st.integers(0, len(lines) - 1))
    place = data.draw(st.integers(0, len(lines[number]) - 1))
    letter = data.draw(st.characters(min_codepoint=32, exclude_categories=["Cs"]))
    before = lines[number]
    lines[number] = before[:place] + letter + before[place + 1 :]
    if lines[number] != before:
        refusal(lines)
