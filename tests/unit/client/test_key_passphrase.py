"""A person's key file under a passphrase: from a private file or the terminal, never from the command line."""

import getpass
import stat
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from client.__main__ import app
from client.errors import KeyRefused
from client.keys import Identity, new_identity, read_card, read_identity, seal_identity, write_identity
from client.passphrase import VARIABLE

FIRST, SECOND = b"a passphrase of ada", b"another one of ada"


@pytest.fixture
def ada() -> Identity:
    return new_identity("ada")


@pytest.fixture
def key(tmp_path: Path, ada: Identity) -> Path:
    write_identity(ada, tmp_path / "ada.key", FIRST)
    return tmp_path / "ada.key"


def private(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.write_bytes(content + b"\n")
    path.chmod(mode)
    return path


def test_a_sealed_key_file_shows_who_it_is_of_and_opens_by_its_passphrase_only(key: Path, ada: Identity) -> None:
    content = key.read_text()
    assert '"person": "ada"' in content and ada.signing.private_bytes_raw().hex() not in content
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert read_identity(key, lambda _: FIRST).card == ada.card == read_card(key.with_suffix(".card.json"))
    with pytest.raises(KeyRefused, match="the passphrase is wrong") as refused:
        read_identity(key, lambda _: SECOND)
    assert SECOND.decode() not in str(refused.value)


def test_a_sealed_key_file_of_one_person_does_not_pass_for_anothers(key: Path) -> None:
    key.write_text(key.read_text().replace('"ada"', '"eve"'))
    with pytest.raises(KeyRefused):
        read_identity(key, lambda _: FIRST)


def test_the_passphrase_comes_from_the_private_file_that_the_environment_names(
    key: Path, ada: Identity, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, str(private(tmp_path / "p", FIRST)))
    assert read_identity(key).card == ada.card
    for file, why in (
        (private(tmp_path / "loose", FIRST, 0o640), "chmod 600"),
        (private(tmp_path / "short", b"short"), "12 to 1024 are needed"),
        (private(tmp_path / "long", b"x" * 1025), "12 to 1024 are needed"),
        (tmp_path / "none", "can't be read"),
    ):
        monkeypatch.setenv(VARIABLE, str(file))
        with pytest.raises(KeyRefused, match=why):
            read_identity(key)


def test_without_a_file_it_is_asked_for_at_a_terminal_and_refused_where_there_is_none(
    key: Path, ada: Identity, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(getpass, "getpass", lambda prompt: FIRST.decode() if str(key) in prompt else "")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    assert read_identity(key).card == ada.card
    monkeypatch.setattr(sys.stdin, "isatty", lambda: False)
    with pytest.raises(KeyRefused, match=f"sealed by a passphrase; name a private file with it in {VARIABLE}"):
        read_identity(key)


def test_an_open_key_file_asks_for_nothing(tmp_path: Path, ada: Identity) -> None:
    write_identity(ada, tmp_path / "open.key")

    def never(_: Path) -> bytes:
        raise AssertionError

    assert read_identity(tmp_path / "open.key", never).card == ada.card


def test_keys_new_and_keys_seal_write_sealed_files_by_file_and_by_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, first = tmp_path / "ada.key", private(tmp_path / "p", FIRST)
    made = CliRunner().invoke(app, ["keys", "new", "ada", "--out", str(key), "--passphrase-file", str(first)])
    assert made.exit_code == 0
    card = read_identity(key, lambda _: FIRST).card
    monkeypatch.setenv(VARIABLE, str(first))
    typed = iter([SECOND.decode(), SECOND.decode()])
    monkeypatch.setattr(getpass, "getpass", lambda _: next(typed))
    assert CliRunner().invoke(app, ["keys", "seal", str(key), "--ask-passphrase"]).exit_code == 0
    assert read_identity(key, lambda _: SECOND).card == card
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ada.card.json", "ada.key", "p"]


def test_a_passphrase_typed_differently_or_too_short_writes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for typed in (["a passphrase of ada", "a passphrase of eve"], ["short", "short"]):
        answers = iter(typed)
        monkeypatch.setattr(getpass, "getpass", lambda _, answers=answers: next(answers))
        done = CliRunner().invoke(app, ["keys", "new", "ada", "--out", str(tmp_path / "k"), "--ask-passphrase"])
        assert done.exit_code != 0
        assert list(tmp_path.iterdir()) == []


def test_sealing_needs_the_passphrase_until_now(key: Path) -> None:
    before = key.read_bytes()
    with pytest.raises(KeyRefused):
        seal_identity(key, SECOND, lambda _: SECOND)
    assert key.read_bytes() == before
