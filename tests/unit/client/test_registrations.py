"""Which registration of a dataset a person's command goes by, with a hub that records an old one once more."""

from pathlib import Path

import pytest

from client.errors import HubUntrusted
from client.registrations import by_members, registered
from client.studies import draft_contract
from protocol import signing
from protocol.membership_statements import DatasetRegistered
from protocol.signing import Signed
from protocol.statement import Statement
from tests.unit.client.conftest import World

FRESH = {"type", *Statement.model_fields}


def again(world: World, rows: int) -> Signed:
    """Cleveland registers its dataset anew, with another row count; the registration that it had."""
    said = (signing.parse(wire) for _, wire in world.leaves)
    held = next(one for one in said if isinstance(one.body, DatasetRegistered) and one.body.issuer == "silo:cleveland")
    fields = {name: getattr(held.body, name) for name in set(DatasetRegistered.model_fields) - FRESH}
    world.say(DatasetRegistered, "silo:cleveland", **fields | {"rows": rows})
    return held


def test_the_newest_registration_is_gone_by(world: World, ada_key: Path) -> None:
    again(world, rows=290)
    assert by_members(world.connect(ada_key), "heart")["cleveland"].rows == 290


def test_an_old_registration_recorded_once_more_is_no_newest_one(world: World, ada_key: Path, sample: Path) -> None:
    world.record(again(world, rows=290))
    connection = world.connect(ada_key)
    with pytest.raises(HubUntrusted, match=r"registration rule 1: .* of dataset heart that silo:cleveland issued"):
        registered(connection, "heart")
    with pytest.raises(HubUntrusted, match="registration rule 1"):
        draft_contract(connection, sample)
