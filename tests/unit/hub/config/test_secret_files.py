"""Secrets as files: private or refused, never in a setting, never in a message."""

import os
import stat
from pathlib import Path

import pytest
from sqlalchemy import event

from hub.__main__ import create
from hub.config import secret_files
from hub.config.secret_files import read_passphrase, read_password, read_secret, require_private
from hub.config.settings import load
from hub.config.tls import require_tls
from hub.errors import SetupRefused
from hub.store.database import Database
from tests.unit.hub.rig.certificate import self_signed


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "hub", "Heart group")
    return tmp_path / "hub"


def secret(path: Path, content: bytes = b"hidden words", mode: int = 0o600) -> Path:
    path.write_bytes(content)
    path.chmod(mode)
    return path


@pytest.mark.parametrize("mode", [0o600, 0o400, 0o500])
def test_a_file_of_one_user_is_read(tmp_path: Path, mode: int) -> None:
    assert read_secret(secret(tmp_path / "s", mode=mode), "tls_key") == b"hidden words"


@pytest.mark.parametrize("mode", [0o444, 0o640, 0o660, 0o604, 0o601, 0o666])
def test_a_file_that_others_may_read_is_refused_with_the_remedy(tmp_path: Path, mode: int) -> None:
    with pytest.raises(SetupRefused, match=rf"has mode {mode:04o}.*chmod 400") as refused:
        read_secret(secret(tmp_path / "s", mode=mode), "tls_key")
    assert "hidden" not in str(refused.value)


@pytest.mark.parametrize(
    "mode,owner,group,passes",
    [(0o440, 0, 0, True), (0o440, 0, 7, False), (0o440, 7, 0, False), (0o444, 0, 0, False), (0o460, 0, 0, False)],
)
def test_root_may_hand_a_credential_over_by_an_access_list_which_shows_as_0440(
    monkeypatch: pytest.MonkeyPatch, mode: int, owner: int, group: int, passes: bool
) -> None:
    shown = os.stat_result((stat.S_IFREG | mode, 1, 1, 1, owner, group, 0, 0, 0, 0))
    monkeypatch.setattr(secret_files.Path, "stat", lambda _: shown)
    if passes:
        require_private(Path("credential"), 0o400)
    else:
        with pytest.raises(SetupRefused):
            require_private(Path("credential"), 0o400)


def test_a_setting_that_names_no_file_says_which(tmp_path: Path) -> None:
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(SetupRefused, match="key_passphrase_file names no file"):
            read_passphrase(path)
    with pytest.raises(SetupRefused, match="more than 65536 bytes"):
        read_secret(secret(tmp_path / "long", b"x" * 65_537), "tls_key")


@pytest.mark.parametrize("content", [b"", b"\n", b"two\nlines", b"\xff\xfe", b"x" * 1025])
def test_a_password_that_is_not_one_line_of_text_is_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    with pytest.raises(SetupRefused, match="database_password_file must hold") as refused:
        read_password(secret(tmp_path / "p", content))
    assert "lines" not in str(refused.value)


def test_the_database_gets_its_password_from_the_file_and_shows_it_nowhere(tmp_path: Path) -> None:
    password = read_password(secret(tmp_path / "p", b"hidden words\n"))
    assert password == "hidden words"
    database = Database("postgresql+psycopg://hub@127.0.0.1:9/none", password)
    given: dict[str, object] = {}

    def dial(_dialect: object, _record: object, _words: object, options: dict[str, object]) -> None:
        given.update(options)
        raise ConnectionError

    event.listen(database.engine, "do_connect", dial)
    with pytest.raises(ConnectionError), database.reading():
        pass
    assert given["password"] == "hidden words"
    assert "hidden" not in repr(database.engine) + str(database.engine.url) + database.url


@pytest.mark.parametrize(
    "url", ["postgresql://hub:hidden@db/consortia", "postgresql://hub@db/consortia?password=hidden"]
)
def test_a_password_in_the_databases_address_is_refused_and_not_shown(folder: Path, url: str) -> None:
    with pytest.raises(SetupRefused, match="database_password_file names") as refused:
        load(folder, {"database_url": url})
    assert "hidden" not in str(refused.value)
    assert load(folder, {"database_url": "postgresql://hub:@db/consortia"}).database_url


def test_a_password_file_without_a_server_and_an_address_that_is_none_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(SetupRefused, match="only a postgresql:// database_url has a password"):
        load(folder, {"database_password_file": tmp_path / "p"})
    with pytest.raises(SetupRefused, match="must be sqlite:///PATH or postgresql://USER@HOST/NAME"):
        load(folder, {"database_url": "not an address"})


def test_a_tls_key_must_be_private_there_and_the_certificates(folder: Path, tmp_path: Path) -> None:
    certificate, key = self_signed(tmp_path / "one")
    _, other = self_signed(tmp_path / "two")

    def refused(certificate: Path, key: Path) -> str:
        with pytest.raises(SetupRefused) as found:
            require_tls(load(folder, {"tls_certificate": certificate, "tls_key": key}))
        return str(found.value)

    require_tls(load(folder, {"tls_certificate": certificate, "tls_key": key}))
    assert "don't fit together" in refused(certificate, other)
    assert "tls_key names no file" in refused(certificate, tmp_path / "none")
    assert "tls_certificate can't be read" in refused(tmp_path / "none", key)
    key.chmod(0o644)
    assert "chmod 400" in refused(certificate, key)
