"""Leaves, checkpoints and the view that a silo pins; the hub is the adversary."""

import base64
import json
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from protocol import canonical
from protocol.translog import (
    EMPTY_ROOT,
    Checkpoint,
    GrowthUnproven,
    LogEntry,
    LogForked,
    LogShrank,
    LogView,
    NoteRefused,
    TreeHead,
    VerifierKey,
    advance,
    leaf_hash,
    sign_checkpoint,
    tree_root,
    verify_checkpoint,
)

VECTORS = Path(__file__).parents[2] / "vectors"
GOLDEN = json.loads((VECTORS / "translog_note.json").read_text())["checkpoint"]
TREE = json.loads((VECTORS / "translog_tree.json").read_text())
ORIGIN = GOLDEN["origin"]
KEY = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(GOLDEN["seed"]))
OTHER_KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
VERIFIER = VerifierKey(ORIGIN, KEY.public_key())
CHARTER = "c0ffee00" * 8
NOW = datetime(2026, 11, 22, 3, 29, tzinfo=UTC)
ROOT64 = base64.b64encode(bytes(32)).decode()
PROOFS = {(c["old_size"], c["new_size"]): [bytes.fromhex(h) for h in c["proof"]] for c in TREE["consistency"]}
ENTRY = {
    "kind": "study-approved",
    "digest": "ab" * 32,
    "issuer": "person:ada",
    "study": "cd" * 32,
    "round": "3",
    "recorded_at": "2026-11-22T03:29:00Z",
}


def head(size: int) -> TreeHead:
    return TreeHead(size, bytes.fromhex(TREE["roots"][size]))


def note_of(tree: TreeHead, key: Ed25519PrivateKey = KEY, origin: str = ORIGIN, key_name: str = ORIGIN) -> str:
    return sign_checkpoint(Checkpoint.stamped(origin, tree, CHARTER, NOW), key_name, key)


def view_of(size: int) -> LogView:
    return advance(LogView(ORIGIN), note_of(head(size)), [], VERIFIER)


# leaves


def test_a_leaf_is_the_canonical_json_of_its_fields() -> None:
    expected = (
        '{"digest":"' + "ab" * 32 + '","issuer":"person:ada","kind":"study-approved",'
        '"recorded_at":"2026-11-22T03:29:00Z","round":"3","study":"' + "cd" * 32 + '"}'
    )
    entry = LogEntry.model_validate(ENTRY)
    assert entry.leaf_bytes() == expected.encode()
    assert entry.leaf_hash() == leaf_hash(expected.encode())


@settings(deadline=None, max_examples=200)
@given(
    st.from_regex(r"\A[a-z][a-z0-9-]{0,62}\Z"),
    st.from_regex(r"\A(hub|(silo|person):[a-z][a-z0-9-]{0,30}[a-z0-9])\Z"),
    st.none() | st.from_regex(r"\A[0-9a-f]{64}\Z"),
    st.none() | st.from_regex(r"\A[a-z0-9][a-z0-9:./-]{0,79}\Z"),
)
def test_any_leaf_is_written_as_rfc_8785_says(kind: str, issuer: str, study: str | None, where: str | None) -> None:
    entry = LogEntry.model_validate(ENTRY | {"kind": kind, "issuer": issuer, "study": study, "round": where})
    assert entry.leaf_bytes() == canonical.encode(entry.model_dump(mode="json"))


def test_a_leaf_without_study_and_round_says_null() -> None:
    entry = LogEntry.model_validate(ENTRY | {"study": None, "round": None})
    assert b'"round":null,"study":null' in entry.leaf_bytes()


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("kind", "Study approved"),
        ("kind", ""),
        ("kind", 3),
        ("digest", "AB" * 32),
        ("digest", "ab" * 31),
        ("digest", "ab" * 32 + "\n"),
        ("digest", b"ab" * 32),
        ("issuer", "ada@hospital.example"),
        ("issuer", "person:Ada Lovelace"),
        ("study", "heart"),
        ("round", 3),
        ("round", "row 7 of ward B"),
        ("recorded_at", "2026-11-22T03:29:00+01:00"),
        ("recorded_at", "2026-02-30T03:29:00Z"),
        ("recorded_at", "2026-02-20T24:00:00Z"),
        ("recorded_at", "2026-02-20T03:29:60Z"),
        ("recorded_at", "0000-02-20T03:29:00Z"),
        ("remark", "patient 12"),
    ],
)
def test_a_leaf_holds_names_and_digests_and_nothing_else(field: str, value: object) -> None:
    with pytest.raises(ValidationError):
        LogEntry.model_validate(ENTRY | {field: value})


@pytest.mark.parametrize("field", sorted(ENTRY))
def test_a_leaf_needs_every_field(field: str) -> None:
    with pytest.raises(ValidationError):
        LogEntry.model_validate({name: value for name, value in ENTRY.items() if name != field})


# checkpoints


def test_a_checkpoint_signed_by_go_is_reproduced_and_read() -> None:
    checkpoint = Checkpoint.stamped(ORIGIN, head(8), GOLDEN["charter"], NOW)
    assert sign_checkpoint(checkpoint, ORIGIN, KEY) == GOLDEN["note"]
    assert verify_checkpoint(GOLDEN["note"], ORIGIN, KEY.public_key()) == checkpoint
    assert (checkpoint.head, checkpoint.charter, checkpoint.signed_at) == (head(8), CHARTER, NOW)
    assert GOLDEN["root"] == TREE["roots"][8]


def test_the_time_is_written_in_utc_and_whole_seconds() -> None:
    elsewhere = NOW.astimezone(timezone(timedelta(hours=5, minutes=30))) + timedelta(microseconds=999_999)
    assert Checkpoint.stamped(ORIGIN, head(1), CHARTER, elsewhere).extensions[-1] == "time 2026-11-22T03:29:00Z"


def test_before_the_first_charter_a_checkpoint_names_none() -> None:
    checkpoint = Checkpoint.stamped(ORIGIN, TreeHead(0, EMPTY_ROOT), None, NOW)
    assert checkpoint.charter is None
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


def test_extension_lines_that_mean_nothing_here_are_signed_and_kept() -> None:
    checkpoint = Checkpoint(ORIGIN, 1, head(1).root, ("charters of 1297", "Zeit und Ort"))
    assert verify_checkpoint(sign_checkpoint(checkpoint, ORIGIN, KEY), ORIGIN, KEY.public_key()) == checkpoint
    assert (checkpoint.charter, checkpoint.signed_at) == (None, None)


@settings(deadline=None, max_examples=100)
@given(
    size=st.integers(1, 2**63 - 1),
    root=st.binary(min_size=32, max_size=32),
    extensions=st.lists(st.from_regex(r"x[ -~]{0,99}", fullmatch=True), max_size=5).map(tuple),
)
def test_a_checkpoint_s_text_is_read_back_as_it_was(size: int, root: bytes, extensions: tuple[str, ...]) -> None:
    checkpoint = Checkpoint(ORIGIN, size, root, extensions)
    assert Checkpoint.parse(checkpoint.text()) == checkpoint


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "three lines"),
        (f"{ORIGIN}\n8\n", "three lines"),
        (f"{ORIGIN}\n8\n{ROOT64}", "ending in a newline"),
        (f"\n8\n{ROOT64}\n", "origin ''"),
        (f"log example\n8\n{ROOT64}\n", "origin"),
        (f"log.exämple\n8\n{ROOT64}\n", "origin"),
        (f"{'x' * 256}\n8\n{ROOT64}\n", "origin"),
        (f"{ORIGIN}\n08\n{ROOT64}\n", "leading zeros"),
        (f"{ORIGIN}\n+8\n{ROOT64}\n", "decimal number"),
        (f"{ORIGIN}\n-8\n{ROOT64}\n", "decimal number"),
        (f"{ORIGIN}\n8 \n{ROOT64}\n", "decimal number"),
        (f"{ORIGIN}\n1_0\n{ROOT64}\n", "decimal number"),
        (f"{ORIGIN}\n٨\n{ROOT64}\n", "decimal number"),
        (f"{ORIGIN}\n\n{ROOT64}\n", "decimal number"),
        (f"{ORIGIN}\n{2**63}\n{ROOT64}\n", "not between"),
        (f"{ORIGIN}\n{'9' * 5000}\n{ROOT64}\n", "decimal number"),
        (f"{ORIGIN}\n0\n{ROOT64}\n", "empty log"),
        (f"{ORIGIN}\n8\n{ROOT64[:-4]}\n", "30 bytes"),
        (f"{ORIGIN}\n8\n{ROOT64[:-1]}\n", "not base64"),
        (f"{ORIGIN}\n8\n{ROOT64[:-2]}B=\n", "canonical form"),
        (f"{ORIGIN}\n8\n{'é' * 44}\n", "not base64"),
        (f"{ORIGIN}\n8\n{ROOT64}\n\n", "extension line ''"),
        (f"{ORIGIN}\n8\n{ROOT64}\nwärme 3\n", "extension line"),
        (f"{ORIGIN}\n8\n{ROOT64}\n{'x' * 257}\n", "extension line"),
        (f"{ORIGIN}\n8\n{ROOT64}\n" + "x\n" * 17, "17 extension lines"),
        (f"{ORIGIN}\n8\n{ROOT64}\ncharter {'AB' * 32}\n", "extension charter"),
        (f"{ORIGIN}\n8\n{ROOT64}\ncharter\n", "extension charter"),
        (f"{ORIGIN}\n8\n{ROOT64}\ncharter {CHARTER} \n", "extension charter"),
        (f"{ORIGIN}\n8\n{ROOT64}\ncharter {CHARTER}\ncharter {CHARTER}\n", "one is allowed"),
        (f"{ORIGIN}\n8\n{ROOT64}\ntime 2026-11-22T03:29:00Z\ntime 2026-11-22T03:29:01Z\n", "one is allowed"),
        (f"{ORIGIN}\n8\n{ROOT64}\ntime 2026-02-30T03:29:00Z\n", "extension time"),
        (f"{ORIGIN}\n8\n{ROOT64}\ntime 2026-1-2T3:4:5Z\n", "extension time"),
        (f"{ORIGIN}\n8\n{ROOT64}\ntime 2026-11-22T03:29:00+00:00\n", "extension time"),
    ],
)
def test_a_text_that_is_no_checkpoint_is_refused_even_if_signed(text: str, reason: str) -> None:
    with pytest.raises(NoteRefused, match=reason):
        Checkpoint.parse(text)


def test_a_checkpoint_that_can_t_be_read_back_can_t_be_made() -> None:
    with pytest.raises(NoteRefused, match="extension line"):
        Checkpoint(ORIGIN, 1, head(1).root, (f"x\n\n— {ORIGIN} AAAAAAAA",))
    with pytest.raises(NoteRefused, match="not between"):
        Checkpoint(ORIGIN, -1, head(1).root)
    with pytest.raises(NoteRefused, match="not between"):
        Checkpoint(ORIGIN, True, head(1).root)


# the pinned view


def test_a_view_follows_the_log_from_nothing_through_every_size() -> None:
    view = LogView(ORIGIN)
    for size in range(1, 9):
        proof = PROOFS[view.size, size] if view.size else []
        view = advance(view, note_of(head(size)), proof, VERIFIER)
        assert (view.size, view.root, view.note) == (size, head(size).root, note_of(head(size)))


@pytest.mark.parametrize(("old", "new"), sorted(PROOFS))
def test_a_view_follows_any_growth_with_go_s_proof(old: int, new: int) -> None:
    assert advance(view_of(old), note_of(head(new)), PROOFS[old, new], VERIFIER).size == new


def test_a_newer_checkpoint_of_the_same_tree_replaces_the_note() -> None:
    later = Checkpoint.stamped(ORIGIN, head(5), CHARTER, NOW + timedelta(hours=1))
    view = advance(view_of(5), sign_checkpoint(later, ORIGIN, KEY), [], VERIFIER)
    assert verify_checkpoint(view.note, ORIGIN, KEY.public_key()).signed_at == NOW + timedelta(hours=1)


def test_rule_1_a_checkpoint_by_another_key_is_refused() -> None:
    with pytest.raises(NoteRefused, match="no signature"):
        advance(view_of(5), note_of(head(8), key=OTHER_KEY), PROOFS[5, 8], VERIFIER)


def test_rule_2_a_checkpoint_of_another_log_is_refused() -> None:
    with pytest.raises(NoteRefused, match=r"is of log log\.example/other"):
        advance(view_of(5), note_of(head(8), origin="log.example/other"), PROOFS[5, 8], VERIFIER)
    other = VerifierKey("log.example/other", KEY.public_key())
    note = note_of(head(8), origin=other.name, key_name=other.name)
    with pytest.raises(NoteRefused, match=f"pinned is {ORIGIN}"):
        advance(view_of(5), note, PROOFS[5, 8], other)
    with pytest.raises(NoteRefused, match=r"by key log\.example/other"):
        advance(view_of(5), note_of(head(8), key_name=other.name), PROOFS[5, 8], other)


def test_rule_3_a_log_never_shrinks() -> None:
    with pytest.raises(LogShrank, match="has 4 leaves, 5 were seen"):
        advance(view_of(5), note_of(head(4)), [], VERIFIER)
    with pytest.raises(LogShrank):
        advance(view_of(5), note_of(TreeHead(0, EMPTY_ROOT)), [], VERIFIER)


def test_rule_4_two_roots_at_one_size_are_a_fork_and_both_notes_prove_it() -> None:
    lie = note_of(TreeHead(5, head(8).root))
    with pytest.raises(LogForked, match="two roots at 5 leaves") as caught:
        advance(view_of(5), lie, [], VERIFIER)
    evidence = [verify_checkpoint(note, ORIGIN, KEY.public_key()) for note in (caught.value.pinned, caught.value.shown)]
    assert [checkpoint.root_hash for checkpoint in evidence] == [head(5).root, head(8).root]


def test_rule_5_growth_needs_its_own_proof() -> None:
    for proof in ([], PROOFS[6, 8], PROOFS[5, 7], PROOFS[5, 8][:-1], [*PROOFS[5, 8], bytes(32)], PROOFS[5, 8][::-1]):
        with pytest.raises(GrowthUnproven, match="8 leaves"):
            advance(view_of(5), note_of(head(8)), proof, VERIFIER)


def test_rule_5_a_log_rewritten_behind_the_view_can_t_go_on() -> None:
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in TREE["leaves"]]
    rewritten = TreeHead(8, tree_root([leaf_hash(b"rewritten"), *leaves[1:]]))
    with pytest.raises(GrowthUnproven):
        advance(view_of(5), note_of(rewritten), PROOFS[5, 8], VERIFIER)


def test_rule_6_a_refused_checkpoint_leaves_the_view_as_it_was() -> None:
    view = view_of(5)
    with pytest.raises(LogForked):
        advance(view, note_of(TreeHead(5, head(8).root)), [], VERIFIER)
    assert view == view_of(5)
