"""The hub's keys replaced while two replicas, silos and followers go on."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import TypeAdapter
from typer.testing import CliRunner

from client.audit.verify import verify_export
from client.errors import AuditFailed
from hub.__main__ import cli
from hub.config import keys
from protocol import canonical, routes
from protocol.charter import charter_digest
from protocol.errors import ProtocolError
from protocol.export import read_header
from protocol.follow import Follower, Verified, advance_follower, begin
from protocol.routes import Follow
from protocol.signing import verify
from protocol.translog import Checkpoint, sign_checkpoint
from tests.unit.hub.rig.consortium import Consortium
from tests.unit.hub.rig.party import Party, Refusal
from tests.unit.hub.rig.process import HubProcess

pytestmark = pytest.mark.slow


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[HubProcess]:
    process = HubProcess(tmp_path / "hub", tokens_per_minute="1000")
    process.start()
    yield process
    process.stop()


@pytest.fixture
def replica(hub: HubProcess) -> Iterator[HubProcess]:
    process = HubProcess(hub.folder, card=hub.card)
    process.start()
    yield process
    process.stop()


@pytest.fixture
def consortium(hub: HubProcess) -> Consortium:
    made = Consortium(hub.url, hub.card)
    made.gather()
    return made


def rotate(hub: HubProcess) -> dict[str, str]:
    said = CliRunner().invoke(cli, ["rotate", "--folder", str(hub.folder)])
    assert said.exit_code == 0, said.output
    found: dict[str, str] = TypeAdapter(dict[str, str]).validate_json(said.output)
    return found


def publish(consortium: Consortium, **changes: Any) -> None:
    old = consortium.charter
    assert old is not None
    value = {**old.model_dump(mode="json"), "version": old.version + 1, "previous": charter_digest(old), **changes}
    signed = consortium.admin.signed("charter", **consortium.admin.signs(value))
    consortium.admin.post(signed)
    consortium.charter = signed.body.charter


def take_over(consortium: Consortium, card: dict[str, str]) -> None:
    publish(consortium, hub_key=card["hub_key"], log_key=card["log_key"])


def shown(party: Party, held: Follower) -> Follow:
    return Follow.model_validate_json(party.get(routes.POLL, after=held.next, wait_s=0).content)


def follow(party: Party, held: Follower) -> tuple[Follower, list[Verified]]:
    """A poll as silos and clients verify it."""
    answer = shown(party, held)
    return advance_follower(held, answer, answer.consistency)


def begun(consortium: Consortium) -> Follower:
    chain = consortium.admin.http.get(routes.CHARTER).content.splitlines()
    return begin(chain, consortium.founding)


def exported(consortium: Consortium) -> list[str]:
    return consortium.officer.get(routes.LOG_EXPORT).text.splitlines(keepends=True)


def test_a_study_goes_on_while_the_hubs_keys_are_replaced_and_all_of_it_verifies_offline(
    hub: HubProcess, replica: HubProcess, consortium: Consortium
) -> None:
    held, _ = follow(consortium.lead, begun(consortium))
    study = consortium.start(rounds=3)
    with consortium.running(study):
        consortium.await_status(study, lambda status: status["rounds_closed"] >= 1)
        card = rotate(hub)
        take_over(consortium, card)
        assert consortium.finish(study)["state"] == "completed"
    held, entries = follow(consortium.lead, held)
    assert (held.in_force.hub_key, held.in_force.log_key) == (card["hub_key"], card["log_key"])
    bodies = [entry.signed.body.type for entry in entries]
    after = entries[bodies.index("charter") + 1 :]
    spoken = [entry.signed for entry in after if entry.signed.body.issuer == "hub"]
    assert len(spoken) > 3
    for signed in spoken:
        verify(signed, card["hub_key"])
    lines = exported(consortium)
    audited = verify_export(lines, consortium.founding)
    assert audited.size == held.view.size
    assert read_header(iter(lines)).log_key != ""


def test_a_checkpoint_by_the_old_log_key_is_refused_once_the_charter_names_the_new_one(
    hub: HubProcess, consortium: Consortium
) -> None:
    before, _ = follow(consortium.lead, begun(consortium))
    take_over(consortium, rotate(hub))
    answer = shown(consortium.lead, before)
    now, stolen = datetime.now(UTC), keys.load(hub.folder / "keys").log
    told = Checkpoint.parse(answer.checkpoint.partition("\n\n")[0] + "\n")
    forged = sign_checkpoint(Checkpoint.stamped(told.origin, told.head, told.charter, now), told.origin, stolen)
    for held in (before, advance_follower(before, answer, answer.consistency)[0]):
        with pytest.raises(ProtocolError):
            advance_follower(held, answer.model_copy(update={"checkpoint": forged}), answer.consistency)
    header, *leaves = exported(consortium)
    true = read_header(iter([header]))
    changed = true.model_copy(update={"checkpoint": forged})
    with pytest.raises(AuditFailed, match="line 1"):
        verify_export([canonical.encode(changed.model_dump(mode="json")).decode() + "\n", *leaves], consortium.founding)


def test_tokens_and_polls_go_on_at_every_replica_and_the_old_keys_may_be_removed(
    hub: HubProcess, replica: HubProcess, consortium: Consortium
) -> None:
    ada = consortium.silo("ada")
    ada.poll()
    token = ada.token
    card = rotate(hub)
    take_over(consortium, card)
    ada.poll()
    assert ada.token == token, "no new one was needed"
    there = Party(ada.party, replica.url, consortium.card)
    there.key = ada.key
    assert there.get(routes.SILOS).status_code == 200, "a new token, of a replica that didn't see the change"
    for process in (hub, replica):
        process.stop()
    for name in keys.NAMES:
        (hub.folder / "keys" / f"{name}.key").unlink()
    hub.start()
    for party in (consortium.lead, consortium.admin):
        party.forget_token()  # the retired key signed it; real clients ask for a new one by themselves
    held, _ = follow(consortium.lead, begun(consortium))
    assert held.in_force.log_key == card["log_key"]
    consortium.admin.say("study-approved", study=consortium.propose(), assertion=None)
    held, entries = follow(consortium.lead, held)
    assert entries[-1].signed.body.type != "charter"


def test_a_charter_with_keys_that_the_hub_does_not_hold_is_refused_and_changes_nothing(
    hub: HubProcess, consortium: Consortium
) -> None:
    card = rotate(hub)
    for hub_key, log_key in (("3" * 64, card["log_key"]), (hub.card["hub_key"], card["log_key"])):
        with pytest.raises(Refusal, match="consortia-hub rotate") as refused:
            publish(consortium, hub_key=hub_key, log_key=log_key)
        assert refused.value.status == 403
    held, _ = follow(consortium.lead, begun(consortium))
    assert held.in_force.hub_key == hub.card["hub_key"]
    take_over(consortium, card)
