"""`consortia-hub rotate`: the next keys beside the present ones."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.__main__ import cli, create
from hub.config import keys
from hub.config.key_ring import KeyRing
from hub.errors import SetupRefused

FIRST, SECOND = b"the first passphrase", b"the second passphrase"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "hub", "Heart group")
    return tmp_path / "hub"


def rotate(folder: Path, *options: str) -> dict[str, str]:
    said = CliRunner().invoke(cli, ["rotate", "--folder", str(folder), *options])
    assert said.exit_code == 0, said.output
    card: dict[str, str] = json.loads(said.output)
    return card


def private_file(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    path.chmod(0o600)
    return path


def test_rotate_makes_private_keys_and_a_card_of_the_same_hub(tmp_path: Path, folder: Path) -> None:
    old, ring = keys.load(folder / "keys"), KeyRing.opened(folder / "keys")
    card = rotate(folder, "--out", str(tmp_path / "card.json"))
    assert json.loads((tmp_path / "card.json").read_text()) == card
    assert (card["consortium"], card["log_origin"]) == ("Heart group", f"heart-group/{old.log_public[:8]}")
    assert not {card["hub_key"], card["log_key"]} & {old.hub_public, old.log_public}
    assert {path.name for path in (folder / "keys").iterdir()} == {"hub.key", "log.key", "hub-2.key", "log-2.key"}
    assert {path.stat().st_mode & 0o777 for path in (folder / "keys").iterdir()} == {0o600}
    found = ring.find(card["hub_key"], card["log_key"])
    assert found is not None, "a hub that runs finds the pair when a charter names it"
    assert (found.hub_public, ring.hub_keys()[0]) == (card["hub_key"], found.hub)


def test_only_a_whole_pair_of_this_hub_is_found(folder: Path) -> None:
    first, second = keys.load(folder / "keys"), rotate(folder)
    ring = KeyRing.opened(folder / "keys")
    assert ring.find(first.hub_public, first.log_public)
    assert ring.find(first.hub_public, second["log_key"]) is None
    assert ring.find(second["log_key"], second["hub_key"]) is None
    assert ring.find("0" * 64, first.log_public) is None


def test_a_third_pair_follows_the_second_also_when_the_first_was_retired(folder: Path) -> None:
    rotate(folder)
    for name in keys.NAMES:
        (folder / "keys" / f"{name}.key").unlink()
    card = rotate(folder)
    assert keys.load(folder / "keys", number=3).hub_public == card["hub_key"]
    assert len(KeyRing.opened(folder / "keys").pairs) == 2


def test_half_a_pair_is_refused_and_named(folder: Path) -> None:
    rotate(folder)
    (folder / "keys" / "log-2.key").unlink()
    for use in (lambda: KeyRing.opened(folder / "keys"), lambda: keys.add(folder / "keys")):
        with pytest.raises(SetupRefused, match=r"log-2\.key is missing"):
            use()


def test_without_any_keys_nothing_is_made(folder: Path) -> None:
    for name in keys.NAMES:
        (folder / "keys" / f"{name}.key").unlink()
    said = CliRunner().invoke(cli, ["rotate", "--folder", str(folder)])
    assert (said.exit_code, "backup" in said.output) == (2, True)
    assert not list((folder / "keys").iterdir())
    with pytest.raises(SetupRefused, match=r"hub\.key is missing"):
        KeyRing.opened(folder / "keys")


def test_new_keys_are_sealed_as_the_present_ones_and_sealed_again_with_them(tmp_path: Path) -> None:
    folder, secret = tmp_path / "hub", private_file(tmp_path / "secret", FIRST)
    create(folder, "Heart group", key_passphrase_file=secret)
    card = rotate(folder)
    keys.reseal(folder / "keys", FIRST, SECOND)
    ring = KeyRing.opened(folder / "keys", lambda: SECOND)
    assert ring.find(card["hub_key"], card["log_key"])
    with pytest.raises(SetupRefused, match="passphrase is wrong"):
        KeyRing.opened(folder / "keys", lambda: FIRST)
