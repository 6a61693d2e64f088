"""One entry proved by a file of its own; whoever hands it over is the adversary."""

import json
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.audit.proof import Proved, check_proof, prove
from client.errors import AuditFailed, UsageRefused
from protocol import canonical, signing
from protocol.canonical import digest
from protocol.translog import LogEntry
from protocol.tree import HashedTree
from tests.unit.client.conftest import ORIGIN, World, found_world, make_contract, run_study


def proved(world: World, wanted: str, tmp_path: Path) -> bytes:
    log = tmp_path / "log.jsonl"
    log.write_text("".join(world.export()), encoding="utf-8")
    return prove(log, world.founding, wanted).encode()


def index_of(world: World, kind: str) -> int:
    return next(index for index, (entry, _) in enumerate(world.leaves) if entry.kind == kind)


def test_one_entry_is_proved_without_the_log(world: World, tmp_path: Path) -> None:
    run_study(world, make_contract(world))
    index = index_of(world, "study-approved")
    shown: Proved = check_proof(proved(world, str(index), tmp_path), world.founding)
    assert (shown.index, shown.entry) == (index, world.leaves[index][0])
    assert shown.signed is not None and shown.signed.wire == world.leaves[index][1]
    assert shown.charter == world.charters[-1]


def test_an_entry_is_found_by_its_statements_digest(world: World, tmp_path: Path) -> None:
    index = index_of(world, "enrolment")
    assert check_proof(proved(world, world.leaves[index][0].digest, tmp_path), world.founding).index == index


def test_every_entry_of_a_log_can_be_proved(world: World, tmp_path: Path) -> None:
    for index, (entry, _) in enumerate(world.leaves):
        assert check_proof(proved(world, str(index), tmp_path), world.founding).entry == entry


def test_a_proof_stands_under_the_checkpoint_that_witnesses_cosigned(world: World, tmp_path: Path) -> None:
    world.cosign("cleveland", "hungarian", "switzerland")
    index = len(world.leaves) - 1
    run_study(world, make_contract(world))
    before = check_proof(proved(world, str(index), tmp_path), world.founding)
    assert next(iter(before.witnessing.cosigned)) == f"{ORIGIN}/silo/cleveland" and before.witnessing.quorate
    after = check_proof(proved(world, str(index + 1), tmp_path), world.founding)
    assert (after.witnessing.cosigned, after.witnessing.quorate) == ({}, False)


def test_an_exchange_that_decides_nothing_is_proved_to_be_in_the_log(world: World, tmp_path: Path) -> None:
    entry = LogEntry(
        kind="refusal", digest=digest(b"no"), issuer="hub", study=None, round=None, recorded_at="2026-11-22T12:00:00Z"
    )
    world.leaves.append((entry, b"no"))
    shown = check_proof(proved(world, str(len(world.leaves) - 1), tmp_path), world.founding)
    assert (shown.entry, shown.signed) == (entry, None)


@pytest.mark.parametrize("wanted", ["99999", "f" * 64, "study-approved", "-1", ""])
def test_an_entry_that_the_log_has_not_is_refused(world: World, tmp_path: Path, wanted: str) -> None:
    with pytest.raises(UsageRefused):
        proved(world, wanted, tmp_path)


def test_a_proof_is_made_of_a_verified_log_only(world: World, tmp_path: Path) -> None:
    world.leaves.pop(3)
    with pytest.raises(AuditFailed):
        proved(world, "0", tmp_path)


def test_another_consortiums_proof_is_refused(world: World, tmp_path: Path) -> None:
    with pytest.raises(AuditFailed, match="not the one that was pinned"):
        check_proof(proved(world, "1", tmp_path), found_world().founding)


def with_changes(data: bytes, edit: Callable[[dict[str, Any]], object]) -> bytes:
    value = json.loads(data)
    edit(value)
    return canonical.encode(value) + b"\n"


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (lambda proof: proof["entry"].update(index=proof["entry"]["index"] + 1), "inclusion proof"),
        (lambda proof: proof["entry"]["proof"].pop(), "inclusion proof"),
        (lambda proof: proof["charters"].pop(), "checkpoint"),
        (lambda proof: proof["charters"].pop(1), "directly after"),
        (lambda proof: proof["charters"].append(proof["entry"]), "no charter"),
        (lambda proof: proof["entry"].update(statement=proof["charters"][0]["statement"]), "rule 1"),
        (lambda proof: proof["entry"].update(statement=None), "JSON"),
        (lambda proof: proof["charters"][2].update(index=0), "inclusion proof"),
        (lambda proof: proof.update(checkpoint=proof["checkpoint"].replace("\n\n", "\n\n\n")), "signature"),
        (lambda proof: proof.update(format="consortia-proof/2"), "not a proof file"),
        (lambda proof: proof.update(more=1), "not a proof file"),
    ],
)
def test_a_proof_with_something_swapped_or_left_out_is_refused(
    world: World, tmp_path: Path, edit: Callable[[dict[str, Any]], object], reason: str
) -> None:
    data = proved(world, str(index_of(world, "dataset-registered")), tmp_path)
    with pytest.raises(AuditFailed, match=reason):
        check_proof(with_changes(data, edit), world.founding)


def test_a_statement_by_another_key_is_refused_though_its_place_is_right(world: World, tmp_path: Path) -> None:
    index = index_of(world, "dataset-registered")
    honest, (entry, wire) = proved(world, str(index), tmp_path), world.leaves[index]
    forged = signing.sign(signing.parse(wire).body, world.hub_key)
    world.leaves[index] = (entry.model_copy(update={"digest": forged.digest}), forged.wire)
    tree = HashedTree(world.hashes)

    def swapped(proof: dict[str, Any]) -> None:
        leaf = {**proof["entry"]["leaf"], "digest": forged.digest}
        path = [node.hex() for node in tree.path(index)]
        proof["entry"] |= {"leaf": leaf, "statement": forged.wire.decode(), "proof": path}
        proof["checkpoint"] = world.checkpoint()
        for placed in proof["charters"]:
            placed["proof"] = [node.hex() for node in tree.path(placed["index"])]

    with pytest.raises(AuditFailed, match="signature does not verify"):
        check_proof(with_changes(honest, swapped), world.founding)


def test_charters_that_stand_in_another_order_than_they_follow_are_refused(world: World, tmp_path: Path) -> None:
    """A hub can sign such a tree; what would be in force at a place is then for it to choose."""
    honest = proved(world, str(index_of(world, "dataset-registered")), tmp_path)
    one, other = [index for index, (entry, _) in enumerate(world.leaves) if entry.kind == "charter"][1:3]
    world.leaves[one], world.leaves[other] = world.leaves[other], world.leaves[one]
    tree = HashedTree(world.hashes)

    def moved(proof: dict[str, Any]) -> None:
        proof["charters"][1]["index"], proof["charters"][2]["index"] = other, one
        proof["checkpoint"] = world.checkpoint()
        for placed in (*proof["charters"], proof["entry"]):
            placed["proof"] = [node.hex() for node in tree.path(placed["index"])]

    with pytest.raises(AuditFailed, match="another order"):
        check_proof(with_changes(honest, moved), world.founding)


_PROOF: list[tuple[bytes, str]] = []


def a_proof() -> tuple[bytes, str]:
    """A proof with cosignatures, made once."""
    if not _PROOF:
        world = found_world()
        world.cosign("cleveland", "hungarian", "switzerland")
        with TemporaryDirectory() as folder:
            _PROOF.append((proved(world, "1", Path(folder)), world.founding))
    return _PROOF[0]


def refuses(data: bytes, founding: str) -> bool:
    try:
        check_proof(data, founding)
    except AuditFailed:
        return True
    return False


def test_no_byte_of_the_checkpoint_and_of_the_entry_can_be_changed_unnoticed() -> None:
    data, founding = a_proof()
    start, end = data.index(b'"charters"'), data.index(b'"entry"')
    assert not refuses(data, founding)
    for place in (*range(start), *range(end, len(data))):
        assert refuses(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :], founding), place


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_no_byte_of_a_proof_can_be_changed_unnoticed(data: st.DataObject) -> None:
    whole, founding = a_proof()
    place = data.draw(st.integers(0, len(whole) - 1))
    other = data.draw(st.integers(0, 255).filter(lambda byte: byte != whole[place]))
    assert refuses(whole[:place] + bytes([other]) + whole[place + 1 :], founding)


def test_a_proof_that_was_cut_or_lengthened_is_refused() -> None:
    whole, founding = a_proof()
    for data in (whole[:-1], whole + b"\n", whole + whole, b"", b"\xff" + whole):
        assert refuses(data, founding)
