"""Signatures checked later and elsewhere: the outcome is the one of checking each at its place, whatever is broken."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from client.audit import signatures
from client.audit.signatures import SignatureQueue
from client.audit.verify import verify_export
from client.errors import AuditFailed
from protocol import canonical, signing
from protocol.translog import LogEntry
from tests.unit.client.conftest import World, found_world, make_contract, run_study

Break = Callable[[World], list[str]]


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signatures, "BATCH", 7)
    monkeypatch.setattr(signatures, "WAITING_BATCHES", 2)


def with_threads(lines: list[str], founding: str) -> AuditFailed | None:
    with SignatureQueue(ThreadPoolExecutor(2), 2) as queue:
        return outcome(lines, founding, queue)


def outcome(lines: list[str], founding: str, queue: SignatureQueue | None) -> AuditFailed | None:
    try:
        verify_export(lines, founding, queue)
    except AuditFailed as failure:
        return failure
    return None


def resigned(world: World, kind: str, nth: int = 0) -> None:
    """The hub signs a statement in its issuer's stead, and logs it so: only the signature is wrong."""
    index = [i for i, (entry, _) in enumerate(world.leaves) if entry.kind == kind][nth]
    entry, wire = world.leaves[index]
    forged = signing.sign(signing.parse(wire).body, world.hub_key)
    world.leaves[index] = (entry.model_copy(update={"digest": forged.digest}), forged.wire)


def a_forged_approval(world: World) -> list[str]:
    resigned(world, "study-approved")
    return world.export()


def two_forged_statements(world: World) -> list[str]:
    resigned(world, "sum-verified", 3)
    resigned(world, "study-accepted", 1)
    return world.export()


def a_forged_charter(world: World) -> list[str]:
    resigned(world, "charter", 2)
    return world.export()


def a_forged_statement_before_a_forged_charter(world: World) -> list[str]:
    resigned(world, "invitation", 1)
    resigned(world, "charter", 3)
    return world.export()


def a_rule_broken_before_a_forged_statement(world: World) -> list[str]:
    del world.leaves[next(i for i, (entry, _) in enumerate(world.leaves) if entry.kind == "secret-commitment")]
    resigned(world, "sum-verified", 3)
    return world.export()


def a_forged_statement_before_a_broken_rule(world: World) -> list[str]:
    resigned(world, "study-accepted", 3)
    del world.leaves[next(i for i, (entry, _) in enumerate(world.leaves) if entry.kind == "secret-commitment")]
    return world.export()


def a_forged_statement_that_breaks_a_rule_too(world: World) -> list[str]:
    index = next(i for i, (entry, _) in enumerate(world.leaves) if entry.kind == "study-approved")
    del world.leaves[index]
    resigned(world, "study-accepted")
    return world.export()


def a_statement_changed_after_its_leaf(world: World) -> list[str]:
    lines = world.export()
    lines[30] = lines[30].replace("hub.example", "hub.examp1e").replace("issued_at", "issued_or", 1)
    assert lines != world.export()
    return lines


def leaves_in_another_order(world: World) -> list[str]:
    lines = world.export()
    return [*lines[:20], lines[21], lines[20], *lines[22:]]


def a_forged_statement_in_a_file_that_was_tampered_with(world: World) -> list[str]:
    resigned(world, "study-accepted", 1)
    lines = world.export()
    return [*lines[:40], *lines[41:], lines[40]]


def a_checkpoint_of_another_root(world: World) -> list[str]:
    leaves = world.export()[1:]
    resigned(world, "sum-verified", 2)
    return [world.export()[0], *leaves]


def a_withheld_statement(world: World) -> list[str]:
    lines = world.export()
    value = json.loads(lines[25])
    value["statement"] = None
    return [*lines[:25], canonical.encode(value).decode() + "\n", *lines[26:]]


BREAKS = [
    a_forged_approval,
    two_forged_statements,
    a_forged_charter,
    a_forged_statement_before_a_forged_charter,
    a_rule_broken_before_a_forged_statement,
    a_forged_statement_before_a_broken_rule,
    a_forged_statement_that_breaks_a_rule_too,
    a_statement_changed_after_its_leaf,
    leaves_in_another_order,
    a_forged_statement_in_a_file_that_was_tampered_with,
    a_checkpoint_of_another_root,
    a_withheld_statement,
]


@pytest.mark.parametrize("broken", BREAKS, ids=lambda one: one.__name__.replace("_", " "))
def test_the_same_leaf_is_named_for_the_same_reason_as_when_each_signature_is_checked_at_its_place(
    world: World, broken: Break
) -> None:
    run_study(world, make_contract(world))
    lines = broken(world)
    plain = outcome(lines, world.founding, None)
    queued = with_threads(lines, world.founding)
    assert plain is not None and queued is not None
    assert (queued.leaf, str(queued)) == (plain.leaf, str(plain))


def test_nobody_is_blamed_for_a_statement_in_a_file_that_was_tampered_with(world: World) -> None:
    run_study(world, make_contract(world))
    failure = outcome(a_forged_statement_in_a_file_that_was_tampered_with(world), world.founding, None)
    assert failure is not None and failure.leaf is None and "don't add up" in str(failure)


def test_an_honest_log_verifies_with_signatures_in_other_processes_and_says_the_same(world: World) -> None:
    run_study(world, make_contract(world))
    plain = verify_export(world.export(), world.founding)
    with SignatureQueue.of_processes(1) as queue:
        queued = verify_export(world.export(), world.founding, queue)
    assert queued.checkpoint == plain.checkpoint
    assert (queued.kinds, queued.spending, queued.studies) == (plain.kinds, plain.spending, plain.studies)


def test_a_forged_statement_is_found_by_other_processes() -> None:
    world = found_world()
    run_study(world, make_contract(world))
    lines = two_forged_statements(world)
    with (
        SignatureQueue.of_processes(2) as queue,
        pytest.raises(AuditFailed, match="signature does not verify") as failed,
    ):
        verify_export(lines, world.founding, queue)
    assert failed.value.leaf == next(
        i + 1 for i, (entry, _) in enumerate(world.leaves) if entry.kind == "study-accepted"
    )


def test_a_leaf_is_believed_only_after_the_file_was_read_to_its_end(world: World) -> None:
    seen: list[LogEntry] = []
    run_study(world, make_contract(world))
    lines = world.export()
    with pytest.raises(AuditFailed, match="counts"):
        verify_export(lines[:-1], world.founding, None, lambda leaf: seen.append(leaf.entry))
    assert len(seen) == len(world.leaves) - 1
