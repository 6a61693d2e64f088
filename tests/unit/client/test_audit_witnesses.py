"""What witnesses cosigned, in an export: it counts, and nobody else's line does."""

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.audit.verify import verify_export
from client.audit.witnessing import Witnessing, read_witnessing
from client.errors import AuditFailed
from protocol.cosignature import cosign
from protocol.signed_note import LogError
from protocol.translog import Checkpoint, TreeHead, sign_checkpoint
from tests.unit.client.conftest import ORIGIN, ROWS, START, World, make_contract, run_study


def verified(world: World) -> Witnessing | None:
    return verify_export(world.export(), world.founding).witnessing


def test_an_export_says_which_witnesses_cosigned_and_when(world: World) -> None:
    world.cosign("cleveland", "hungarian", "switzerland")
    witnessing = verified(world)
    assert witnessing is not None and witnessing.quorate
    assert list(witnessing.cosigned) == [f"{ORIGIN}/silo/{name}" for name in ("cleveland", "hungarian", "switzerland")]
    assert str(witnessing) == f"3 of 4 witnesses cosigned the log of {len(world.leaves)} leaves"


def test_an_older_checkpoint_with_cosignatures_is_a_beginning_of_the_log(world: World) -> None:
    world.cosign(*ROWS)
    size = len(world.leaves)
    run_study(world, make_contract(world))
    witnessing = verified(world)
    assert witnessing is not None and witnessing.checkpoint.size == size


def test_without_a_cosigned_checkpoint_the_export_says_nothing_of_witnesses(world: World) -> None:
    assert verified(world) is None


def test_too_few_cosignatures_are_said_to_be_too_few(world: World) -> None:
    world.cosign("cleveland", "hungarian")
    assert str(verified(world)).startswith("2 of 4 witnesses") and "3 are needed" in str(verified(world))


def test_a_strangers_cosignature_is_refused(world: World) -> None:
    note = world.cosign("cleveland")
    for name in (f"{ORIGIN}/silo/mallory", f"{ORIGIN}/silo/hungarian"):
        world.witnessed = note + cosign(note, name, Ed25519PrivateKey.generate(), int(world.seconds)) + "\n"
        with pytest.raises(AuditFailed, match="no witness's, or that doesn't verify"):
            verified(world)


def test_cosignatures_of_another_checkpoint_are_refused(world: World) -> None:
    old = world.cosign("cleveland", "hungarian", size=len(world.leaves) - 3)
    fresh = world.cosign()
    world.witnessed = fresh + "".join(f"{line}\n" for line in old.splitlines()[-2:])
    with pytest.raises(AuditFailed, match="doesn't verify"):
        verified(world)


def test_a_fork_that_was_cosigned_is_refused(world: World) -> None:
    head = TreeHead(len(world.leaves), b"\x01" * 32)
    charter = verify_export(world.export(), world.founding).checkpoint.charter
    note = sign_checkpoint(Checkpoint.stamped(ORIGIN, head, charter, START), ORIGIN, world.log_key)
    for name in ROWS:
        note += cosign(note, f"{ORIGIN}/silo/{name}", world.silos[name].signing, int(world.seconds)) + "\n"
    world.witnessed = note
    with pytest.raises(AuditFailed, match="witnesses cosigned another log"):
        verified(world)


def test_leaves_that_witnesses_saw_cannot_be_left_out(world: World) -> None:
    world.cosign(*ROWS)
    witnessed, world.leaves = world.witnessed, world.leaves[:-1]
    world.witnessed = witnessed
    with pytest.raises(AuditFailed, match=r"witnesses cosigned .* leaves, the file has"):
        verified(world)


def test_a_cosigned_checkpoint_by_another_log_key_is_refused(world: World) -> None:
    honest, world.log_key = world.log_key, Ed25519PrivateKey.generate()
    world.cosign(*ROWS)
    world.log_key = honest
    with pytest.raises(AuditFailed, match="witnessed: no signature by key"):
        verified(world)


def test_no_byte_of_the_cosigned_checkpoint_can_be_changed_unnoticed(world: World) -> None:
    note, charter = world.cosign("cleveland", "hungarian"), world.charters[-1]
    assert len(read_witnessing(note, charter).cosigned) == 2
    for place in range(len(note)):
        with pytest.raises(LogError):
            read_witnessing(note[:place] + chr(ord(note[place]) ^ 1) + note[place + 1 :], charter)
