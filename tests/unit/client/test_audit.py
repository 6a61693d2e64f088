"""What an officer's offline check finds. Each forged log is re-signed, so that only the named rule can find it."""

from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from client.audit.report import render_report
from client.audit.selection import Kept, Selection
from client.audit.verify import verify_export
from client.errors import AuditFailed
from client.keys import new_identity
from protocol import round_statements, signing, study_statements
from protocol.canonical import digest
from protocol.study import study_id
from protocol.translog import LogEntry
from tests.unit.client.conftest import START, World, found_world, make_contract, register, run_study


def test_an_honest_log_verifies_and_the_budgets_are_recomputed(world: World) -> None:
    contract = make_contract(world)
    study = run_study(world, contract)
    audited = verify_export(world.export(), world.founding)
    assert audited.studies[study].complete_through == 3
    for domain in audited.spending.domains.values():
        assert 4.5 < audited.spending.epsilon_spent(domain) <= 5.0


def test_one_altered_byte_in_a_statement_is_found_and_its_leaf_named(world: World) -> None:
    run_study(world, make_contract(world))
    lines = world.export()
    leaf = next(i for i, (entry, _) in enumerate(world.leaves) if entry.kind == "spend-settled")
    lines[leaf + 1] = lines[leaf + 1].replace("patients", "patientz")
    with pytest.raises(AuditFailed, match=f"leaf {leaf}: .*SHA-256") as failed:
        verify_export(lines, world.founding)
    assert failed.value.leaf == leaf


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_byte_of_an_export_can_be_changed_unnoticed(data: st.DataObject) -> None:
    text = _exported()
    place = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from('0a9Z\n"{ '))
    changed = text[:place] + letter + text[place + 1 :]
    if changed == text:
        return
    with pytest.raises(AuditFailed):
        verify_export(changed.splitlines(keepends=True), _WORLD[0].founding)


_WORLD: list[World] = []


def _exported() -> str:
    if not _WORLD:
        _WORLD.append(found_world())
        _WORLD[0].cosign("cleveland", "hungarian")
    return "".join(_WORLD[0].export())


def test_a_checkpoint_signed_by_another_key_is_refused(world: World) -> None:
    honest = world.log_key
    world.log_key = Ed25519PrivateKey.generate()
    forged = world.export()
    world.log_key = honest
    with pytest.raises(AuditFailed, match="trusted is"):
        verify_export(forged, world.founding)
    with pytest.raises(AuditFailed, match=r"signature|signed"):
        verify_export([forged[0].replace(_vkey(forged[0]), _vkey(world.export()[0])), *forged[1:]], world.founding)


def _vkey(header: str) -> str:
    return header.split('"log_key":"')[1].split('"')[0]


def test_another_consortiums_log_is_not_taken_for_ones_own(world: World) -> None:
    with pytest.raises(AuditFailed, match="not the pinned"):
        verify_export(found_world().export(), world.founding)


def test_a_leaf_left_out_is_noticed(world: World) -> None:
    lines = world.export()
    with pytest.raises(AuditFailed, match="counts"):
        verify_export(lines[:-1], world.founding)


def test_a_statement_signed_by_another_silo_is_named(world: World) -> None:
    contract = make_contract(world)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    forged = world.signed(study_statements.StudyRefused, "silo:cleveland", study=study_id(contract), **_REFUSAL)
    index = world.record(signing.sign(forged.body, world.silos["hungarian"].signing))
    with pytest.raises(AuditFailed, match="signature does not verify") as failed:
        verify_export(world.export(), world.founding)
    assert failed.value.leaf == index


_REFUSAL = {"rule": "purpose", "reason": "not ours", "decided_by": "owner"}


def test_an_overspent_budget_is_found() -> None:
    world = found_world(cap=6.0)
    run_study(world, make_contract(world))
    with pytest.raises(AuditFailed, match=r"budget rule 5: .* the cap is 6") as failed:
        run_study(world, make_contract(world, rounds=3))
        verify_export(world.export(), world.founding)
    assert world.leaves[failed.value.leaf or 0][0].kind == "spend-reserved"


def test_a_domain_whose_cap_was_raised_afterwards_is_found(world: World) -> None:
    register(world, "cleveland", 303, 20.0)
    with pytest.raises(AuditFailed, match="budget rule 1"):
        verify_export(world.export(), world.founding)


def test_an_acceptance_before_the_admins_approval_is_found(world: World) -> None:
    contract = make_contract(world)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    fields = {"policy": "1" * 64, "dataset_commitment": "2" * 64, "decided_by": "owner"}
    world.say(study_statements.StudyAccepted, "silo:cleveland", study=study_id(contract), **fields)
    with pytest.raises(AuditFailed, match="accepted a study that too few admins approve"):
        verify_export(world.export(), world.founding)


def test_a_study_approved_by_the_researcher_is_found(world: World) -> None:
    contract = make_contract(world)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    world.say(study_statements.StudyApproved, "person:grace", study=study_id(contract), assertion=None)
    with pytest.raises(AuditFailed, match="role admin"):
        verify_export(world.export(), world.founding)


def test_a_member_who_never_enrolled_is_found(world: World) -> None:
    card = new_identity("mallory").card
    keys = {"signing_key": card.signing_key, "receiving_key": card.receiving_key}
    world.succeed(members=[{"silo": "mallory", **keys}])
    with pytest.raises(AuditFailed, match="never enrolled"):
        verify_export(world.export(), world.founding)


@pytest.mark.parametrize(
    ("kind", "change", "reason"),
    [
        (round_statements.RoundFrozen, {"base": "f" * 64}, "another total"),
        (round_statements.UploadComplete, {"freeze": "f" * 64}, "another freeze digest"),
        (round_statements.SumVerified, {"state_mac": "f" * 64}, "did not log one state"),
        (round_statements.SumServed, {"chunks": ("5" * 64,) * 9}, "chunks"),
        (round_statements.RoundClosed, {"agreed": ("cleveland", "hungarian")}, "below the quorum"),
        (round_statements.RoundOpened, {"attempt": 2}, "out of order"),
        (study_statements.SecretCommitment, {"commitment": "f" * 64}, "different keys"),
        (study_statements.StudyKeying, {"silos": ("hungarian", "cleveland", "switzerland", "va-long-beach")}, "rule 3"),
    ],
)
def test_a_hub_or_silo_that_departs_from_the_order_of_a_round_is_found(
    world: World, monkeypatch: pytest.MonkeyPatch, kind: type, change: dict[str, object], reason: str
) -> None:
    honest, altered = World.signed, []

    def lying(self: World, made: type, issuer: str, **fields: object) -> signing.Signed:
        if made is kind and not altered:
            altered.append(issuer)
            fields = {**fields, **change}
        return honest(self, made, issuer, **fields)

    monkeypatch.setattr(World, "signed", lying)
    run_study(world, make_contract(world))
    assert altered
    with pytest.raises(AuditFailed, match=reason):
        verify_export(world.export(), world.founding)


def test_a_round_served_twice_is_found(world: World) -> None:
    contract = make_contract(world)
    run_study(world, contract)
    signed = [signing.parse(wire) for entry, wire in world.leaves if entry.kind == "sum-served"][-1]
    body = signed.body.model_dump(exclude={"type", "issuer", "issued_at", "nonce", "journal_head"})
    world.say(round_statements.SumServed, "hub", **body)
    with pytest.raises(AuditFailed, match="served twice"):
        verify_export(world.export(), world.founding)


def test_a_round_after_the_study_was_closed_is_found(world: World) -> None:
    contract = make_contract(world)
    fields = {"round": 3, "attempt": 2, "silos": contract.silo_names, "due_at": "2026-11-23T00:00:00Z"}
    world.say(round_statements.RoundOpened, "hub", study=run_study(world, contract), **fields)
    with pytest.raises(AuditFailed, match="after the end"):
        verify_export(world.export(), world.founding)


def test_a_refusal_on_record_is_counted_and_decides_nothing(world: World) -> None:
    at = "2026-11-22T12:00:00Z"
    names = {"kind": "refusal", "digest": digest(b"no"), "issuer": "silo:cleveland"}
    entry = LogEntry(**names, study=None, round=None, recorded_at=at)
    world.leaves.append((entry, b"no"))
    assert verify_export(world.export(), world.founding).kinds["refusal"] == 1


def test_a_void_round_is_charged_counted_apart_and_shown_with_its_reason(world: World) -> None:
    contract = make_contract(world)
    study = run_study(world, contract, void=1)
    audited = verify_export(world.export(), world.founding)
    record = audited.studies[study]
    assert [index for index, one in record.rounds.items() if one.voided] == [1]
    assert [keying.epoch for keying in record.keyings] == [1, 2]
    charged = audited.spending.study_epsilon("hungarian", study, contract)
    assert charged == pytest.approx(contract.privacy.epsilon, rel=1e-3), "the void round is paid for"
    page = reported(world)
    assert "Round 1 was void, and charged all the same: the sum didn&#39;t verify at 4 silos." in page
    assert "round 1, training, void: " in page and "round 2, training: " in page


def reported(world: World, **selected: Any) -> str:
    kept = Kept(Selection(**selected))
    return render_report(verify_export(world.export(), world.founding, None, kept), kept, START)


def test_the_report_shows_the_study_in_words_and_escapes_what_others_wrote(world: World) -> None:
    contract = make_contract(world).model_copy(update={"title": "<script>alert(1)</script>"})
    run_study(world, contract)
    page = reported(world)
    assert "<script>" not in page and "&lt;script&gt;" in page
    assert "person:ada: signature verified" in page
    assert page.count("<svg") == 2 and "epsilon 5.000 of 10 at delta 0.001" in page
    assert "hospital" in page and 'lang="en"' in page and "prefers-color-scheme: dark" in page
