"""The hub's keys under a passphrase: opened by it, and by nothing else."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.__main__ import cli, create
from hub.config import keys
from hub.config.settings import load
from hub.errors import SetupRefused

FIRST, SECOND = b"a passphrase of the hub", b"another one of the hub"


@pytest.fixture
def passphrase(tmp_path: Path) -> Path:
    return private(tmp_path / "passphrase", FIRST)


@pytest.fixture
def folder(tmp_path: Path, passphrase: Path) -> Path:
    create(tmp_path / "hub", "Heart group", key_passphrase_file=passphrase)
    return tmp_path / "hub"


def private(path: Path, content: bytes) -> Path:
    path.touch(mode=0o600)
    path.write_bytes(content + b"\n")
    return path


def test_init_with_a_passphrase_writes_no_key_in_the_open_and_names_its_file(folder: Path, passphrase: Path) -> None:
    assert load(folder).key_passphrase_file == passphrase
    made = keys.load(folder / "keys", FIRST)
    for name, key in (("hub", made.hub), ("log", made.log)):
        file = folder / "keys" / f"{name}.key"
        assert key.private_bytes_raw() not in file.read_bytes()
        assert file.stat().st_mode & 0o777 == 0o600
    assert FIRST.decode() not in (folder / "hub.toml").read_text()


def test_a_wrong_and_a_missing_passphrase_are_refused_with_the_file_named(folder: Path) -> None:
    with pytest.raises(SetupRefused, match=r"hub\.key: hub: the passphrase is wrong"):
        keys.load(folder / "keys", SECOND)
    with pytest.raises(SetupRefused, match=r"hub\.key is sealed by a passphrase; name its file in key_passphrase_file"):
        keys.load(folder / "keys")


def test_one_sealed_key_does_not_pass_for_the_other(folder: Path) -> None:
    (folder / "keys" / "log.key").replace(folder / "keys" / "hub.key")
    (folder / "keys" / "log.key").write_bytes((folder / "keys" / "hub.key").read_bytes())
    (folder / "keys" / "log.key").chmod(0o600)
    with pytest.raises(SetupRefused, match=r"hub\.key"):
        keys.load(folder / "keys", FIRST)


def test_keys_in_the_open_are_not_taken_where_a_passphrase_is_set(tmp_path: Path) -> None:
    create(tmp_path / "hub", "Heart group")
    with pytest.raises(SetupRefused, match="and key_passphrase_file is set; run: consortia-hub seal-keys"):
        keys.load(tmp_path / "hub" / "keys", FIRST)


def test_seal_keys_seals_open_ones_and_exchanges_a_passphrase(tmp_path: Path, passphrase: Path) -> None:
    card = create(tmp_path / "hub", "Heart group")
    second = private(tmp_path / "second", SECOND)
    words = ["seal-keys", "--folder", str(tmp_path / "hub"), "--key-passphrase-file"]
    for given in ([str(passphrase)], [str(passphrase)], [str(second), "--old-passphrase-file", str(passphrase)]):
        done = CliRunner().invoke(cli, [*words, *given])
        assert done.exit_code == 0 and given[0] in done.output
    assert keys.load(tmp_path / "hub" / "keys", SECOND).log_public == card["log_key"]
    assert [one.name for one in (tmp_path / "hub" / "keys").glob("*.part")] == []


def test_seal_keys_interrupted_between_two_keys_is_finished_by_doing_it_again(folder: Path) -> None:
    before = (folder / "keys" / "log.key").read_bytes()
    keys.reseal(folder / "keys", FIRST, SECOND)
    (folder / "keys" / "log.key").write_bytes(before)
    keys.reseal(folder / "keys", FIRST, SECOND)
    assert keys.load(folder / "keys", SECOND)


def test_seal_keys_needs_the_passphrase_until_now(folder: Path, tmp_path: Path) -> None:
    second = private(tmp_path / "second", SECOND)
    before = [path.read_bytes() for path in sorted((folder / "keys").iterdir())]
    for old in ([], ["--old-passphrase-file", str(second)]):
        words = ["seal-keys", "--folder", str(folder), "--key-passphrase-file", str(second), *old]
        done = CliRunner().invoke(cli, words)
        assert done.exit_code == 2 and "hub.key" in done.output
    assert [path.read_bytes() for path in sorted((folder / "keys").iterdir())] == before


def test_init_with_a_poor_passphrase_leaves_nothing(tmp_path: Path) -> None:
    poor = private(tmp_path / "poor", b"short")
    words = ["init", "--folder", str(tmp_path / "hub"), "--consortium", "X", "--key-passphrase-file", str(poor)]
    done = CliRunner().invoke(cli, words)
    assert done.exit_code == 2 and "12 to 1024 are needed" in done.output
    assert not (tmp_path / "hub").exists()
