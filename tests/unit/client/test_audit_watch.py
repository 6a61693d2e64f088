"""Watching the log: green while all is well; red, loud and with exit code 1 as soon as it isn't."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.audit.watch import Health, look
from client.commands.audit_watch import is_news
from client.connection import Connection
from client.errors import HubUntrusted
from protocol.charter import charter_digest
from protocol.cosignature import cosign
from protocol.translog import Checkpoint, TreeHead, sign_checkpoint
from tests.unit.client.conftest import ORIGIN, ROWS, START, World, make_contract, run_study
from tests.unit.client.test_command import Command, command  # noqa: F401  # the fixture

SILOS = tuple(ROWS)


@pytest.fixture
def watcher(world: World, ada_key: Path) -> Connection:
    world.cosign(*SILOS)
    return world.connect(ada_key)


def health(connection: Connection, **asked: Any) -> Health:
    return look(connection, **asked)[0]


def test_all_is_well_while_a_quorum_has_seen_the_log(world: World, watcher: Connection) -> None:
    world.seconds += 180
    found = health(watcher)
    assert found.reason is None
    assert found.line == f"log consistent, 4 of 4 witnesses, last checkpoint 0 s ago, {len(world.leaves)} leaves"


def test_entries_are_told_as_they_come(world: World, watcher: Connection) -> None:
    look(watcher)
    before = len(world.leaves)
    run_study(world, make_contract(world))
    found, records = look(watcher)
    assert [record.index for record in records] == list(range(before, len(world.leaves)))
    assert found.reason is None  # what witnesses saw is the beginning of the log that is followed


def test_without_a_cosigned_checkpoint_it_is_not_well(world: World, ada_key: Path) -> None:
    found = health(world.connect(ada_key))
    assert found.reason == "no checkpoint was cosigned by the 3 witnesses that are needed"


def test_old_cosignatures_are_not_well(world: World, watcher: Connection) -> None:
    world.seconds += 25 * 3600
    assert "0 witnesses cosigned the log in the last 24 hours; 3 are needed" in str(health(watcher).reason)


def test_an_old_checkpoint_is_not_well(world: World, watcher: Connection, monkeypatch: pytest.MonkeyPatch) -> None:
    old = world.checkpoint()
    monkeypatch.setattr(world, "checkpoint", lambda: old)
    world.seconds += 3 * 3600
    assert health(watcher).reason == "the log's checkpoint is from 3 h 0 min ago; it must be younger than 2 h 0 min"
    assert health(watcher, oldest=timedelta(hours=4)).reason is None


def test_witnesses_that_saw_another_charter_only_are_not_enough(world: World, watcher: Connection) -> None:
    world.succeed()
    assert "names the charter in force" in str(health(watcher).reason)


def test_a_fork_that_witnesses_cosigned_ends_all_trust(world: World, watcher: Connection) -> None:
    head = TreeHead(len(world.leaves), b"\x01" * 32)
    fork = sign_checkpoint(
        Checkpoint.stamped(ORIGIN, head, charter_digest(world.charters[-1]), START), ORIGIN, world.log_key
    )
    for name in SILOS:
        fork += cosign(fork, f"{ORIGIN}/silo/{name}", world.silos[name].signing, int(world.seconds)) + "\n"
    world.witnessed = fork
    with pytest.raises(HubUntrusted, match="witnesses cosigned another log"):
        health(watcher)
    run_study(world, make_contract(world))
    with pytest.raises(HubUntrusted, match="witnesses cosigned another log"):
        health(watcher)


def test_cosignatures_of_strangers_end_all_trust(world: World, watcher: Connection) -> None:
    note = world.checkpoint()
    key = Ed25519PrivateKey.generate()
    world.witnessed = note + "".join(
        cosign(note, f"{ORIGIN}/silo/{name}", key, int(world.seconds)) + "\n" for name in SILOS
    )
    with pytest.raises(HubUntrusted, match="what witnesses cosigned does not verify"):
        health(watcher)


def test_a_log_rolled_back_ends_all_trust(world: World, watcher: Connection) -> None:
    look(watcher)
    world.leaves.pop()
    with pytest.raises(HubUntrusted, match="were seen before"):
        health(watcher)


def test_a_look_is_shown_when_it_tells_something_new_and_now_and_then(world: World, watcher: Connection) -> None:
    first, records = look(watcher)
    assert is_news(first, (), None, timedelta(0))
    assert not is_news(first, (), first, timedelta(minutes=1)) and is_news(first, (), first, timedelta(minutes=6))
    assert records == () and is_news(first, watcher.log.records[:1], first, timedelta(0))
    world.cosign("cleveland", "hungarian", "switzerland")
    assert is_news(health(watcher), (), first, timedelta(0))


@pytest.mark.parametrize(
    ("spoil", "code", "shown"),
    [
        (lambda world: world.cosign(*SILOS), 0, "● log consistent, 4 of 4 witnesses"),
        (lambda world: None, 1, "● NOT WELL: no checkpoint was cosigned"),
        (lambda world: setattr(world, "witnessed", "nonsense"), 1, "● NOT TRUSTED"),
    ],
)
def test_one_look_ends_with_an_exit_code_for_a_monitor(
    command: Command,  # noqa: F811
    world: World,
    ada_key: Path,
    spoil: Callable[[World], object],
    code: int,
    shown: str,
) -> None:
    spoil(world)
    at = ("audit", "watch", "--once", "--key", str(ada_key), "--charter", world.founding)
    ended, said, _ = command(*at)
    assert ended == code and shown in said
    ended, said, _ = command(*at, "--json")
    assert ended == code and json.loads(said)["well"] == (code == 0)
