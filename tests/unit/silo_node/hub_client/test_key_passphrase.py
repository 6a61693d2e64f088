"""The silo's keys under a passphrase, and the command that seals them."""

import pytest
from typer.testing import CliRunner

from silo_node.__main__ import app
from silo_node.agent.joining import join
from silo_node.config import SiloConfig, load, save
from silo_node.errors import ConfigRefused
from silo_node.hub_client.identity import Identity
from silo_node.hub_client.key_files import reseal
from silo_node.private_files import read_passphrase

FIRST, SECOND = b"a passphrase of the silo", b"another one of the silo"


def private(path, content, mode=0o600):
    path.write_bytes(content + b"\n")
    path.chmod(mode)
    return path


def sealed_files(folder):
    return {path.name: path.read_bytes() for path in (folder / "keys").iterdir()}


def test_keys_made_with_a_passphrase_lie_sealed_and_are_the_same_again(tmp_path):
    made = Identity.create("alpha", tmp_path, FIRST)
    assert (
        Identity.load("alpha", tmp_path, lambda: FIRST).words
        == Identity.create("alpha", tmp_path, FIRST).words
        == made.words
    )
    files = sealed_files(tmp_path)
    assert made.signing.private_bytes_raw() not in files["signing"]
    assert made.receiving.private not in files["receiving"]


def test_a_wrong_a_missing_and_an_idle_passphrase_are_refused(tmp_path):
    Identity.create("alpha", tmp_path / "sealed", FIRST)
    Identity.create("alpha", tmp_path / "open")
    with pytest.raises(ConfigRefused, match="signing: the passphrase is wrong"):
        Identity.load("alpha", tmp_path / "sealed", lambda: SECOND)
    with pytest.raises(ConfigRefused, match="name its file in key_passphrase_file"):
        Identity.load("alpha", tmp_path / "sealed")
    with pytest.raises(ConfigRefused, match="run: consortia-silo seal-keys"):
        Identity.load("alpha", tmp_path / "open", lambda: FIRST)


def test_a_silo_joining_again_with_another_passphrase_keeps_its_keys_as_they_are(tmp_path):
    Identity.create("alpha", tmp_path, FIRST)
    before = sealed_files(tmp_path)
    with pytest.raises(ConfigRefused, match="the passphrase is wrong"):
        Identity.create("alpha", tmp_path, SECOND)
    assert sealed_files(tmp_path) == before


def test_a_passphrase_that_cannot_be_used_stops_joining_before_anything_is_made(tmp_path):
    invitation = f"7Q4M-2ZK8-VR0X-9CDE-A1BG.{'9f' * 32}"
    for file, why in (
        (tmp_path / "none", "names no file"),
        (private(tmp_path / "loose", FIRST, 0o640), "can be read by other users"),
        (private(tmp_path / "short", b"short"), "12 to 1024 are needed"),
    ):
        with pytest.raises(ConfigRefused, match=why):
            join(tmp_path / "silo", "https://hub.example", "alpha", invitation, None, file)
    assert not (tmp_path / "silo").exists()


def test_seal_keys_seals_open_keys_exchanges_a_passphrase_and_names_its_file(tmp_path, monkeypatch):
    monkeypatch.delenv("CONSORTIA_SILO_KEY_PASSPHRASE_FILE", raising=False)
    words = Identity.create("alpha", tmp_path).words
    save(SiloConfig(silo="alpha", hub_url="https://hub.example", charter="0" * 64, poll_wait_s=7), tmp_path)
    first, second = private(tmp_path / "first", FIRST), private(tmp_path / "second", SECOND)
    for given in ([str(first)], [str(first)], [str(second), "--old-passphrase-file", str(first)]):
        done = CliRunner().invoke(app, ["seal-keys", "--folder", str(tmp_path), "--key-passphrase-file", *given])
        assert done.exit_code == 0, done.exception
        config = load(tmp_path, {})
        assert (str(config.passphrase_file), config.poll_wait_s) == (given[0], 7)
    assert Identity.load("alpha", tmp_path, lambda: SECOND).words == words


def test_seal_keys_without_the_passphrase_until_now_changes_nothing(tmp_path):
    Identity.create("alpha", tmp_path, FIRST)
    before = sealed_files(tmp_path)
    for old in (None, SECOND):
        with pytest.raises(ConfigRefused):
            reseal(tmp_path, old, SECOND)
    assert sealed_files(tmp_path) == before


def test_the_passphrases_file_of_the_environment_wins_and_an_empty_one_counts_for_nothing(tmp_path):
    one = SiloConfig(silo="alpha", hub_url="https://hub.example", charter="0" * 64, key_passphrase_file="/a")
    save(one, tmp_path)
    assert load(tmp_path, {"CONSORTIA_SILO_KEY_PASSPHRASE_FILE": "/b"}).key_passphrase_file == "/b"
    assert load(tmp_path, {"CONSORTIA_SILO_KEY_PASSPHRASE_FILE": ""}) == one == load(tmp_path, {})


def test_a_passphrase_file_is_its_owners_alone(tmp_path):
    assert read_passphrase(private(tmp_path / "p", FIRST, 0o400)) == FIRST
    assert read_passphrase(None) is None
    for mode in (0o404, 0o420, 0o444):
        with pytest.raises(ConfigRefused, match="can be read by other users"):
            read_passphrase(private(tmp_path / f"{mode}", FIRST, mode))
