"""`consortia-hub rotate` killed at any of its calls to the disk, and without room on it."""

import itertools
import os
import shutil
from functools import partial
from pathlib import Path

import pytest
from typer.testing import CliRunner

from hub.__main__ import cli, create
from hub.config import keys
from hub.config.key_ring import KeyRing
from hub.errors import SetupRefused
from tests.faults import MOST_CALLS, at_call, killed_at, no_room


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    create(tmp_path / "hub", "Heart group")
    return tmp_path / "hub" / "keys"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_a_rotation_killed_at_any_call_loses_no_key_and_half_a_pair_is_named(folder: Path, tmp_path: Path) -> None:
    before, outcomes = contents(folder), set()
    for step in itertools.count(1):
        tried = tmp_path / f"killed-{step}"
        shutil.copytree(folder, tried)
        if not killed_at(step, partial(keys.add, tried)):
            break
        assert before.items() <= contents(tried).items()
        try:
            outcomes.add(len(KeyRing.opened(tried).pairs))
        except SetupRefused as refusal:
            outcomes.add("half")
            (there,) = {"hub-2.key", "log-2.key"} & set(contents(tried))
            (missing,) = {"hub-2.key", "log-2.key"} - {there}
            assert f"{missing} is missing" in str(refusal) and "cut short" in str(refusal)
            (tried / there).unlink()
        keys.add(tried)
        assert len(KeyRing.opened(tried).pairs) in (2, 3)
        assert not list(tried.glob("*.part"))
    assert outcomes == {1, "half", 2}
    assert step < MOST_CALLS


def test_a_rotation_without_room_makes_nothing_or_all(folder: Path) -> None:
    before = contents(folder)
    for step in (1, 2, 3, 4):
        with at_call(step, no_room), pytest.raises(SetupRefused, match="No space left on device; none were made"):
            keys.add(folder)
        assert contents(folder) == before


def test_a_card_that_cannot_be_written_is_printed_all_the_same(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "absent" / "card.json"
    said = CliRunner().invoke(cli, ["rotate", "--folder", str(folder.parent), "--out", str(out)])
    assert said.exit_code != 0
    assert keys.load(folder, number=2).hub_public in said.output
    assert f"{os.fspath(out)} can't be written" in said.output
