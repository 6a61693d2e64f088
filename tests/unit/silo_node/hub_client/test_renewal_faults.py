"""A silo's next keys (`consortia-silo rotate`) killed at any call to the disk, and without room on it."""

import itertools
import shutil
from functools import partial
from pathlib import Path

import pytest

from silo_node.hub_client.identity import Identity
from silo_node.hub_client.key_files import FOLDER, numbers
from tests.faults import MOST_CALLS, at_call, killed_at, no_room

SILO = "cleveland"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    Identity.create(SILO, tmp_path / "silo")
    return tmp_path / "silo"


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / FOLDER).iterdir()}


def test_a_renewal_killed_at_any_call_loses_no_key_and_leaves_no_half_pair(folder: Path, tmp_path: Path) -> None:
    before, outcomes = contents(folder), set()
    for step in itertools.count(1):
        tried = tmp_path / f"killed-{step}"
        shutil.copytree(folder, tried)
        if not killed_at(step, partial(Identity.renew, SILO, tried)):
            break
        assert before.items() <= contents(tried).items()
        outcomes.add(len(numbers(tried)))
        assert len(Identity.load(SILO, tried).others) + 1 == len(numbers(tried))
        Identity.renew(SILO, tried)
        assert not list((tried / FOLDER).glob("*.part"))
    assert outcomes == {1, 2}
    assert step < MOST_CALLS


def test_a_renewal_without_room_leaves_the_pairs_that_were(folder: Path) -> None:
    known = Identity.load(SILO, folder)
    for step in range(1, 8):
        with at_call(step, no_room), pytest.raises(OSError, match="No space left on device"):
            Identity.renew(SILO, folder)
        assert numbers(folder) == (1,)
        assert Identity.load(SILO, folder).signing_public == known.signing_public
