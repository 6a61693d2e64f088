"""A hub, or whoever hands over the file, against the officer. Each log is signed anew where a hub could sign it."""

import json
from collections.abc import Callable, Sequence

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client.audit.replay import Audited
from client.audit.verify import verify_export
from client.errors import AuditFailed
from client.keys import Identity, new_identity
from protocol import canonical, membership_statements, signing, study_statements
from protocol.charter import Charter, charter_digest
from protocol.published_column import PublishedColumn
from protocol.signing import Signed
from protocol.study import study_id
from protocol.succession import sign_charter
from tests.unit.client.conftest import World, found_world, make_contract, run_study

ADMINS = ("ada", "emmy", "sofia")


def verified(world: World) -> Audited:
    return verify_export(world.export(), world.founding)


def refused(world: World, reason: str) -> AuditFailed:
    with pytest.raises(AuditFailed, match=reason) as failed:
        verified(world)
    return failed.value


@pytest.fixture
def many(world: World) -> World:
    """Three admins, two of whom decide."""
    world.identities |= {name: new_identity(name) for name in ADMINS[1:]}
    people = [_person(world.identities[name], "admin") for name in ADMINS[1:]]
    publish(world, changed(world, threshold=2, people=[*_people(world), *people]), ADMINS[:2])
    return world


def _people(world: World) -> list[dict[str, object]]:
    people: list[dict[str, object]] = world.charters[-1].model_dump(mode="json")["people"]
    return people


def _person(identity: Identity, role: str) -> dict[str, object]:
    card = identity.card
    keys = {"signing_key": card.signing_key, "receiving_key": card.receiving_key}
    return {"person": identity.person, "role": role, "decision_key": None, **keys}


def changed(world: World, **fields: object) -> Charter:
    older = world.charters[-1]
    value = older.model_dump(mode="json") | {"version": older.version + 1, "previous": charter_digest(older)} | fields
    return Charter.model_validate_json(canonical.encode(value))


def publish(world: World, charter: Charter, signers: Sequence[str]) -> None:
    signatures = tuple(sign_charter(charter, name, world.key_of(f"person:{name}")) for name in signers)
    world.say(membership_statements.CharterPublished, "person:ada", charter=charter, signatures=signatures)


def test_a_charter_with_signatures_of_the_threshold_is_followed(many: World) -> None:
    publish(many, changed(many, expires_at="2029-01-01T00:00:00Z"), ("emmy", "sofia"))
    assert verified(many).chain.in_force.expires_at == "2029-01-01T00:00:00Z"


@pytest.mark.parametrize("signers", [("ada",), ("ada", "ada")])
def test_a_charter_below_the_threshold_is_found(many: World, signers: Sequence[str]) -> None:
    publish(many, changed(many, expires_at="2029-01-01T00:00:00Z"), signers)
    assert refused(many, "rule 3: .* 2 of the 3 admins").leaf == len(many.leaves) - 1


def test_lowering_the_threshold_takes_the_threshold(many: World) -> None:
    publish(many, changed(many, threshold=1), ("ada",))
    refused(many, "2 of the 3 admins")


def test_a_charter_that_a_stranger_signed_beside_the_admins_is_found(many: World) -> None:
    charter = changed(many, expires_at="2029-01-01T00:00:00Z")
    signatures = (
        *(sign_charter(charter, name, many.key_of(f"person:{name}")) for name in ADMINS[:2]),
        sign_charter(charter, "sofia", Ed25519PrivateKey.generate()),
    )
    many.say(membership_statements.CharterPublished, "person:ada", charter=charter, signatures=signatures)
    refused(many, "a signature of sofia that no admin's key verifies")


def test_a_draft_and_its_signatures_bring_nothing_into_force(many: World) -> None:
    draft, key = changed(many, threshold=3), many.key_of("person:emmy")
    many.say(
        membership_statements.CharterProposed, "person:emmy", charter=draft, signature=sign_charter(draft, "emmy", key)
    )
    signature = sign_charter(draft, "sofia", many.key_of("person:sofia"))
    many.say(membership_statements.CharterSigned, "person:sofia", charter=charter_digest(draft), signature=signature)
    assert verified(many).chain.in_force.threshold == 2


def test_a_signature_for_a_draft_that_nobody_proposed_is_found(many: World) -> None:
    draft = changed(many, threshold=3)
    signature = sign_charter(draft, "sofia", many.key_of("person:sofia"))
    many.say(membership_statements.CharterSigned, "person:sofia", charter=charter_digest(draft), signature=signature)
    refused(many, "a charter that nobody proposed")


def test_a_draft_with_a_forged_signature_is_found(many: World) -> None:
    draft, key = changed(many, threshold=3), Ed25519PrivateKey.generate()
    many.say(
        membership_statements.CharterProposed, "person:emmy", charter=draft, signature=sign_charter(draft, "emmy", key)
    )
    refused(many, "a signature of emmy that no admin's key verifies")


def test_a_study_that_too_few_admins_approve_is_not_begun(many: World) -> None:
    contract = make_contract(many)
    run_study(many, contract)  # with ada's approval alone
    failure = refused(many, "too few admins approve")
    assert failure.leaf is not None and many.leaves[failure.leaf][0].kind == "study-accepted"


def test_an_approval_under_anothers_name_is_found(many: World) -> None:
    contract = make_contract(many)
    many.say(study_statements.StudyProposed, "person:grace", contract=contract)
    body = many.signed(study_statements.StudyApproved, "person:emmy", study=study_id(contract), assertion=None).body
    many.record(signing.sign(body, many.ada.signing))
    refused(many, "signature does not verify")


def test_a_log_goes_on_under_another_log_key(many: World) -> None:
    many.log_key = Ed25519PrivateKey.generate()
    public = many.log_key.public_key().public_bytes_raw().hex()
    publish(many, changed(many, log_key=public), ADMINS[:2])
    assert verified(many).checkpoint.size == len(many.leaves)


def test_the_log_key_of_an_older_charter_signs_no_more(many: World) -> None:
    old, other = many.log_key, Ed25519PrivateKey.generate()
    publish(many, changed(many, log_key=other.public_key().public_bytes_raw().hex()), ADMINS[:2])
    many.log_key = old
    refused(many, "trusted is")


def an_older_checkpoint(world: World, lines: list[str]) -> list[str]:
    """The header of an export from before the last leaves."""
    leaves, world.leaves = world.leaves, world.leaves[:-4]
    header = world.export()[0]
    world.leaves = leaves
    return [header, *lines[1:]]


def a_statement_swapped(world: World, lines: list[str]) -> list[str]:
    one, other = json.loads(lines[30]), json.loads(lines[31])
    one["statement"], other["statement"] = other["statement"], one["statement"]
    return [*lines[:30], *(canonical.encode(line).decode() + "\n" for line in (one, other)), *lines[32:]]


@pytest.mark.parametrize(
    ("tamper", "reason"),
    [
        (lambda world, lines: [*lines[:20], *lines[21:]], "leaves, the file has"),
        (lambda world, lines: lines[:-1], "leaves, the file has"),
        (lambda world, lines: [*lines, lines[-1]], "leaves, the file has"),
        (lambda world, lines: [*lines[:20], lines[21], lines[20], *lines[22:]], "don't add up"),
        (lambda world, lines: [*lines[:20], lines[19], *lines[21:]], "don't add up"),
        (a_statement_swapped, "SHA-256 is not the leaf's digest"),
        (an_older_checkpoint, "leaves, the file has"),
        (lambda world, lines: [lines[0], *lines], "not a leaf line"),
        (lambda world, lines: lines[1:], "not a header line"),
        (lambda world, lines: [], "empty"),
    ],
)
def test_a_file_with_leaves_removed_moved_or_swapped_is_refused(
    tamper: Callable[[World, list[str]], list[str]], reason: str
) -> None:
    world = found_world()
    run_study(world, make_contract(world))
    with pytest.raises(AuditFailed, match=reason):
        verify_export(tamper(world, world.export()), world.founding)


def test_a_log_without_its_end_is_no_lie_but_shows_its_age(world: World) -> None:
    """A hub may stop the log at any place: what it withholds is found by who holds a newer checkpoint."""
    run_study(world, make_contract(world))
    whole = verified(world).size
    world.leaves = world.leaves[:-10]
    assert verified(world).size == whole - 10


def test_a_registration_that_the_hub_records_once_more_is_found(world: World) -> None:
    first = register(world, rows=303)
    register(world, rows=290)
    assert verified(world).spending.registrations.newest["cleveland", "heart"].rows == 290
    world.record(first)
    why = "registration rule 1: the registration of dataset heart that silo:cleveland issued at .* was recorded before"
    assert refused(world, why).leaf == len(world.leaves) - 1


def test_registrations_that_the_hub_records_in_another_order_count_as_the_silo_made_them(world: World) -> None:
    first = world.signed(membership_statements.DatasetRegistered, "silo:cleveland", **registration(rows=280))
    world.seconds += 60
    register(world, rows=270)
    world.record(first)
    assert verified(world).spending.registrations.newest["cleveland", "heart"].rows == 270


def registration(rows: int) -> dict[str, object]:
    column = PublishedColumn.model_validate(
        {"name": "age", "kind": "number", "unit": "years", "minimum": 18, "maximum": 100}
    )
    privacy = {"domain": "patients", "unit": "subject", "epsilon": 10.0, "delta": 1e-3, "order": 4}
    return {"dataset": "heart", "columns": (column,), "rows": rows, **privacy}


def register(world: World, rows: int) -> Signed:
    return world.say(membership_statements.DatasetRegistered, "silo:cleveland", **registration(rows))
