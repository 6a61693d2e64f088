"""What a person's machine believes of a hub that lies, forgets or answers in pieces."""

import os
import stat
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.errors import HubRefused, HubUnreachable, HubUntrusted, KeyRefused, UsageRefused
from client.keys import new_identity, read_card, read_identity, write_identity
from client.session import check_origin
from protocol import membership_statements
from protocol.charter import charter_digest
from protocol.translog import Checkpoint, TreeHead, leaf_hash, sign_checkpoint, tree_root
from tests.unit.client.conftest import ORIGIN, World, inclusion, make_contract, run_study


def test_the_log_is_followed_and_its_charter_is_the_newest(world: World, ada_key: Path) -> None:
    connection = world.connect(ada_key)
    assert connection.log.charter.version == 6
    assert connection.log.size == len(world.leaves)


@pytest.mark.parametrize("pieces", [1, 3, 7])
def test_a_log_that_comes_in_pieces_while_it_grows_is_followed_to_its_end(
    world: World, ada_key: Path, pieces: int
) -> None:
    world.answers_per_poll = pieces
    grown = []

    def growing(answer: dict[str, object]) -> dict[str, object]:
        if len(grown) < 4:
            grown.append(world.signed(membership_statements.Invitation, "person:ada", **_INVITATION))
            world.record(grown[-1])
        return answer

    world.broken = growing
    connection = world.connect(ada_key)
    world.broken = None
    connection.log.refresh()
    assert connection.log.size == len(world.leaves)
    assert [record.index for record in connection.log.records] == list(range(len(world.leaves)))


_INVITATION = {"silo": "late-silo", "code": "0" * 64, "expires_at": "2026-11-23T00:00:00Z"}


def test_what_was_followed_is_remembered_and_only_news_is_fetched(world: World, ada_key: Path) -> None:
    world.connect(ada_key)
    run_study(world, make_contract(world))
    world.calls.clear()
    connection = world.connect(ada_key)
    assert len(connection.log.records) == len(world.leaves)
    assert "GET /v1/charter" not in world.calls


def test_a_hub_that_forks_its_log_is_caught_by_what_was_pinned(world: World, ada_key: Path) -> None:
    world.connect(ada_key)
    other = world.signed(membership_statements.Invitation, "person:ada", **_INVITATION)
    world.leaves.pop()
    world.record(other)
    with pytest.raises(HubUntrusted, match="two roots"):
        world.connect(ada_key)


def test_a_hub_that_takes_leaves_back_is_caught(world: World, ada_key: Path) -> None:
    world.connect(ada_key)
    world.leaves.pop()
    with pytest.raises(HubUntrusted, match="seen before"):
        world.connect(ada_key)


def test_a_forged_checkpoint_is_refused(world: World, ada_key: Path) -> None:
    world.connect(ada_key)
    world.log_key = Ed25519PrivateKey.generate()
    with pytest.raises(HubUntrusted, match="does not verify"):
        world.connect(ada_key)


def test_another_founding_charter_than_the_one_given_is_refused(world: World, ada_key: Path) -> None:
    with pytest.raises(HubUntrusted, match="founding charter is not the one"):
        world.connect(ada_key, founding="0" * 64)
    assert not ada_key.with_suffix(".pinned.json").exists()


def test_a_pinned_charter_is_not_exchanged_for_another(world: World, ada_key: Path) -> None:
    world.connect(ada_key)
    with pytest.raises(UsageRefused, match="not the charter pinned"):
        world.connect(ada_key, founding="0" * 64)


def test_an_entry_with_a_proof_for_another_place_is_refused(world: World, ada_key: Path) -> None:
    def swapped(answer: dict[str, object]) -> dict[str, object]:
        entries = answer["entries"]
        assert isinstance(entries, list)
        entries[2]["proof"], entries[3]["proof"] = entries[3]["proof"], entries[2]["proof"]
        return answer

    world.broken = swapped
    with pytest.raises(HubUntrusted, match="inclusion proof"):
        world.connect(ada_key)


def test_a_statement_exchanged_under_its_leaf_is_refused(world: World, ada_key: Path) -> None:
    def exchanged(answer: dict[str, object]) -> dict[str, object]:
        entries = answer["entries"]
        assert isinstance(entries, list)
        entries[1]["statement"] = entries[4]["statement"]
        return answer

    world.broken = exchanged
    with pytest.raises(HubUntrusted, match="rule 1"):
        world.connect(ada_key)


def test_a_withheld_charter_is_noticed_by_the_checkpoints_head(world: World, ada_key: Path) -> None:
    def withheld(answer: dict[str, object]) -> dict[str, object]:
        entries = answer["entries"]
        assert isinstance(entries, list)
        last = max(i for i, entry in enumerate(entries) if '"kind":"charter"' in entry["leaf"])
        return {**answer, "entries": entries[:last]}

    world.broken = withheld
    with pytest.raises(HubUntrusted, match="names another charter"):
        world.connect(ada_key)


def test_an_old_checkpoint_is_refused(world: World, ada_key: Path) -> None:
    note = world.checkpoint()
    world.broken = lambda answer: {**answer, "checkpoint": note}
    world.seconds += 25 * 3600
    with pytest.raises(HubUntrusted, match="older than 24 hours"):
        world.connect(ada_key)


def test_a_statement_that_the_hub_only_pretends_to_record_is_noticed(
    world: World, ada_key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection = world.connect(ada_key)
    monkeypatch.setattr(World, "record", lambda self, signed: 2)
    invitation = world.signed(membership_statements.Invitation, "person:ada", **_INVITATION)
    with pytest.raises(HubUntrusted, match="says it recorded"):
        connection.publish(invitation.body)


def test_a_line_cut_by_a_crash_does_not_lose_what_came_after(world: World, ada_key: Path) -> None:
    world.connect(ada_key)
    cache = ada_key.with_suffix(".pinned.jsonl")
    with cache.open("a") as file:
        file.write('{"index":99,"lea')
    run_study(world, make_contract(world))
    world.connect(ada_key)
    assert len(world.connect(ada_key).log.records) == len(world.leaves)


def test_a_hub_that_is_away_for_a_moment_is_asked_again(world: World, ada_key: Path) -> None:
    world.faults = [503, 502]
    assert world.connect(ada_key).log.size == len(world.leaves)
    world.faults = [503] * 9
    with pytest.raises(HubRefused, match="status 503"):
        world.connect(ada_key)


def test_an_expired_token_is_renewed_once_and_a_refusal_is_final(world: World, ada_key: Path) -> None:
    connection = world.connect(ada_key)
    world.faults = [401]
    connection.log.refresh()
    world.faults = [401, 401, 401]
    with pytest.raises(HubRefused):
        connection.log.refresh()


def test_no_answer_at_all_says_what_to_check(world: World, ada_key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def down(self: World, request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    monkeypatch.setattr(World, "handle", down)
    with pytest.raises(HubUnreachable, match="check --hub"):
        world.connect(ada_key)


@pytest.mark.parametrize("url", ["http://hub.example", "ftp://hub.example", "https://u:p@hub.ex", "https://h/x", "hub"])
def test_only_https_is_spoken_to_another_machine(url: str) -> None:
    with pytest.raises(UsageRefused, match="--hub"):
        check_origin(url)


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:8000", "http://[::1]:1", "http://localhost:1", "https://hub.example/"]
)
def test_plain_http_is_for_this_machine_only(url: str) -> None:
    assert check_origin(url) == url.rstrip("/")


def test_a_key_file_that_others_may_read_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "me.key"
    write_identity(new_identity("ada"), key)
    assert stat.S_IMODE(os.stat(key).st_mode) == 0o600
    key.chmod(0o640)
    with pytest.raises(KeyRefused, match="chmod 600"):
        read_identity(key)


def test_a_key_file_reads_back_and_is_never_overwritten(tmp_path: Path) -> None:
    key, ada = tmp_path / "me.key", new_identity("ada")
    card = write_identity(ada, key)
    assert read_identity(key).card == read_card(card) == ada.card
    with pytest.raises(KeyRefused, match="never overwritten"):
        write_identity(new_identity("ada"), key)


def test_a_damaged_key_file_is_refused_without_quoting_it(tmp_path: Path) -> None:
    key = tmp_path / "me.key"
    write_identity(new_identity("ada"), key)
    secret = key.read_text().split('"signing": "')[1][:20]
    key.write_text(key.read_text().replace("consortia-key/1", "consortia-key/2"))
    with pytest.raises(KeyRefused) as refused:
        read_identity(key)
    assert secret not in str(refused.value) and secret not in repr(new_identity("ada"))


@pytest.mark.parametrize(
    "leaf", ["", "{}", "[]", '{"kind":1}', '{ "kind":"charter"}', "\x00", "[" * 3000], ids=range(7)
)
def test_a_leaf_that_is_none_is_refused_and_nothing_falls_over(world: World, ada_key: Path, leaf: str) -> None:
    """With a proof that fits, as a hub can make for any bytes: only the reading of the leaf is left to refuse it."""

    def odd(answer: dict[str, object]) -> dict[str, object]:
        hashes = world.hashes
        hashes[0] = leaf_hash(leaf.encode())
        head = TreeHead(len(hashes), tree_root(hashes))
        now = datetime.fromtimestamp(world.seconds, UTC)
        note = sign_checkpoint(
            Checkpoint.stamped(ORIGIN, head, charter_digest(world.charters[0]), now), ORIGIN, world.log_key
        )
        entries = answer["entries"]
        assert isinstance(entries, list)
        entry = {**entries[0], "leaf": leaf, "proof": [one.hex() for one in inclusion(0, hashes)]}
        return {**answer, "checkpoint": note, "entries": [entry]}

    world.broken = odd
    with pytest.raises(HubUntrusted, match=r"it is no leaf|not in canonical form"):
        world.connect(ada_key)
