"""What an admin's key signs, and what it doesn't."""

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from client import admin
from client.charter_changes import with_silo
from client.charter_drafts import propose as propose_charter
from client.errors import HubUntrusted, StudyNotCompleted, UsageRefused
from client.studies import draft_contract, late, propose, uploads, watch
from protocol import membership_statements, signing, study_statements
from protocol.charter import key_words
from protocol.errors import DraftRefused
from protocol.routes import StudyStatus
from protocol.sealing.envelope import generate_keys
from protocol.study import study_id
from protocol.succession import CharterSignature
from tests.unit.client.conftest import Silo, World, make_contract, run_study

CODE = re.compile(r"(?:[0-9A-HJKMNP-TV-Z]{4}-){4}[0-9A-HJKMNP-TV-Z]{4}")


def enrol(world: World, name: str) -> Silo:
    """A silo posts its keys; the hub holds them until the admin looks."""
    silo = Silo(name, Ed25519PrivateKey.generate(), generate_keys())
    world.silos[name] = silo
    signed = world.say(membership_statements.Enrolment, f"silo:{name}", charter=world.founding, **silo.member)
    pending = {"silo": name, "statement": signed.wire.decode(), "received_at": "2026-11-22T12:00:00Z"}
    world.pending.append(pending)
    return silo


def words_of(silo: Silo) -> str:
    return key_words(silo.member["signing_key"], silo.member["receiving_key"])


def no_touch(signature: CharterSignature, charter: object, key: object) -> CharterSignature:
    raise AssertionError("nobody here has a security key")


def test_a_code_has_100_random_bits_and_comes_with_the_founding_charter(world: World, ada_key: Path) -> None:
    codes = {admin.new_code() for _ in range(200)}
    assert len(codes) == 200 and all(CODE.fullmatch(code) for code in codes)
    made = admin.invite(world.connect(ada_key), "new-silo")
    code, _, founding = made.code.partition(".")
    assert CODE.fullmatch(code) and founding == world.founding
    body = signing.parse(world.leaves[-1][1]).body
    assert isinstance(body, membership_statements.Invitation) and body.code == admin.code_digest(code)
    assert code not in world.leaves[-1][1].decode()


def test_a_silo_is_admitted_by_the_words_it_reads_out_and_by_no_others(world: World, ada_key: Path) -> None:
    connection = world.connect(ada_key)
    admin.invite(connection, "new-silo")
    silo = enrol(world, "new-silo")
    with pytest.raises(UsageRefused, match="someone may be between you"):
        admin.hear(connection, "new-silo", words_of(Silo("x", Ed25519PrivateKey.generate(), generate_keys())))
    with pytest.raises(UsageRefused, match="someone may be between you"):
        admin.hear(connection, "new-silo", "")
    assert len(world.charters) == 6
    connection.log.refresh()
    asked = admin.hear(connection, "new-silo", f"  {words_of(silo).upper()} ")
    assert asked.signing_key == silo.member["signing_key"]
    newer = with_silo(connection.log.charter, "new-silo", asked.signing_key, asked.receiving_key, connection.now())
    assert propose_charter(connection, newer, no_touch).in_force
    assert connection.log.charter == newer and newer.version == 7


def test_a_member_gets_new_keys_by_the_words_of_the_new_ones_only(world: World, ada_key: Path) -> None:
    """Who took the code on its way enrols in the member's name; the words of neither its old keys nor others do."""
    connection = world.connect(ada_key)
    member = connection.log.charter.members[0]
    with pytest.raises(UsageRefused, match="--replace-keys"):
        admin.invite(connection, member.silo)
    admin.invite(connection, member.silo, replace_keys=True)
    thief = enrol(world, member.silo)
    for words in (
        key_words(member.signing_key, member.receiving_key),
        words_of(Silo("x", Ed25519PrivateKey.generate(), generate_keys())),
    ):
        with pytest.raises(UsageRefused, match="someone may be between you"):
            admin.hear(connection, member.silo, words)
    assert admin.hear(connection, member.silo, words_of(thief)).signing_key == thief.member["signing_key"]


def test_an_enrolment_that_nobody_was_invited_to_is_refused(world: World, ada_key: Path) -> None:
    silo = enrol(world, "stranger")
    with pytest.raises(HubUntrusted, match="never invited"):
        admin.hear(world.connect(ada_key), "stranger", words_of(silo))


def test_an_enrolment_whose_keys_the_hub_exchanged_is_refused(world: World, ada_key: Path) -> None:
    connection = world.connect(ada_key)
    admin.invite(connection, "new-silo")
    silo = enrol(world, "new-silo")
    theirs = Ed25519PrivateKey.generate().public_key().public_bytes_raw().hex()
    altered = world.pending[0]["statement"].replace(silo.member["signing_key"], theirs)
    world.pending[0]["statement"] = altered
    with pytest.raises(HubUntrusted, match="does not verify"):
        admin.hear(connection, "new-silo", words_of(silo))


def test_a_researchers_key_does_not_do_an_admins_work(world: World, grace_key: Path) -> None:
    with pytest.raises(UsageRefused, match="only an admin"):
        admin.invite(world.connect(grace_key), "new-silo")


def test_a_study_is_proposed_once_and_approved_by_its_digest(
    world: World, ada_key: Path, grace_key: Path, sample: Path
) -> None:
    grace = world.connect(grace_key)
    contract = draft_contract(grace, sample)
    made = propose(grace, contract)
    assert propose(grace, contract) == made and made.study == study_id(contract)
    ada = world.connect(ada_key)
    assert ada.log.find_study(made.study[:8]) == made.study
    record = ada.publish(admin.approval(ada, made.study))
    assert record.entry.study == made.study and record.entry.issuer == "person:ada"
    with pytest.raises(UsageRefused, match="8 or more"):
        ada.log.find_study(made.study[:7])
    with pytest.raises(UsageRefused, match="0 studies"):
        ada.log.find_study("0" * 12)


def test_a_study_that_nobody_proposed_is_not_approved(world: World, ada_key: Path) -> None:
    with pytest.raises(UsageRefused, match="no proposal"):
        admin.approval(world.connect(ada_key), "0" * 64)


def test_a_draft_is_proposed_by_its_lead_only_and_before_it_ends(
    world: World, ada_key: Path, grace_key: Path, sample: Path
) -> None:
    with pytest.raises(DraftRefused, match="lead: grace must sign"):
        draft_contract(world.connect(ada_key), sample)
    world.seconds += 5 * 365 * 86_400
    with pytest.raises(DraftRefused, match="expires_at"):
        draft_contract(world.connect(grace_key), sample)


def status(study: str, **changes: object) -> dict[str, object]:
    value: dict[str, object] = {
        "study": study, "title": "t", "state": "running", "reason": None, "lead": "grace",
        "proposed_at": "2026-11-22T12:00:00Z", "approvals": [],
        "approvals_needed": 1, "objections": {}, "accepted": ["cleveland", "hungarian"], "refused": {},
        "withdrawn": {},
        "waiting": [], "suspended": [], "paused": [], "rounds_total": 4, "rounds_closed": 0, "current": None,
        "released_to": [],
    }  # fmt: skip
    return value | changes


def test_watching_ends_when_the_log_says_so_and_tells_what_is_left(world: World, grace_key: Path) -> None:
    study = run_study(world, make_contract(world))
    connection = world.connect(grace_key)
    world.status = [status(study), status(study, rounds_closed=2), status(study, state="completed", rounds_closed=4)]
    seen: list[float | None] = []

    def show(_: StudyStatus, left: object) -> None:
        world.seconds += 10
        seen.append(getattr(left, "seconds", None))

    assert watch(connection, study, show).state == "completed"
    assert seen == [None, 10.0, 0.0]


def test_a_completion_that_only_the_hub_claims_is_not_believed(world: World, grace_key: Path) -> None:
    contract = make_contract(world)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    study = study_id(contract)
    world.status = [status(study, state="completed")]
    with pytest.raises(HubUntrusted, match="its log doesn't"):
        watch(world.connect(grace_key), study, lambda *_: None)


def test_watching_a_study_that_is_aborted_ends_in_an_error_with_its_reason(world: World, grace_key: Path) -> None:
    contract = make_contract(world)
    study = study_id(contract)
    world.say(study_statements.StudyProposed, "person:grace", contract=contract)
    world.say(study_statements.StudyClosed, "hub", study=study, outcome="aborted", reason="quorum not reached")
    world.status = [status(study, state="aborted")]
    with pytest.raises(StudyNotCompleted, match="quorum not reached"):
        watch(world.connect(grace_key), study, lambda *_: None)


def test_who_is_late_follows_from_the_step_that_the_round_is_at() -> None:
    current = {
        "round": 1, "stage": "training", "attempt": 1, "state": "open", "ready": ["cleveland"], "uploaded": [],
        "verified": [], "due_at": None, "chunks": 0, "chunks_received": {}, "bytes_up": 0, "bytes_down": 0,
        "opened_at": "2026-11-22T12:00:00Z", "closed_at": None,
    }  # fmt: skip
    for state, expected in (("open", ("hungarian",)), ("frozen", ("cleveland",)), ("closed", ())):
        text = json.dumps(status("0" * 64, current=current | {"state": state}))
        assert late(StudyStatus.model_validate_json(text)) == expected


def test_uploads_are_counted_by_silo_while_the_round_is_frozen() -> None:
    current = {
        "round": 1, "stage": "training", "attempt": 1, "state": "open", "ready": ["cleveland", "hungarian"],
        "uploaded": [], "verified": [], "due_at": None, "chunks": 255,
        "chunks_received": {"cleveland": 255, "hungarian": 120}, "bytes_up": 0, "bytes_down": 0,
        "opened_at": "2026-11-22T12:00:00Z", "closed_at": None,
    }  # fmt: skip
    for state, expected in (("open", ""), ("frozen", "cleveland 255/255, hungarian 120/255"), ("served", "")):
        shown = StudyStatus.model_validate_json(json.dumps(status("0" * 64, current=current | {"state": state})))
        assert uploads(shown) == expected
    frozen = StudyStatus.model_validate_json(json.dumps(status("0" * 64, current=current | {"state": "frozen"})))
    assert uploads(frozen, ("hungarian",)) == "hungarian 120/255"
    assert uploads(frozen, ()) == ""


def test_an_enrolment_with_a_receiving_key_that_is_none_is_refused(world: World, ada_key: Path) -> None:
    connection = world.connect(ada_key)
    admin.invite(connection, "new-silo")
    world.silos["new-silo"] = Silo("new-silo", Ed25519PrivateKey.generate(), generate_keys())
    member = world.silos["new-silo"].member
    for receiving in ("A=", "AAAA"):
        signed = world.say(
            membership_statements.Enrolment,
            "silo:new-silo",
            charter=world.founding,
            **member | {"receiving_key": receiving},
        )
        world.pending = [{"silo": "new-silo", "statement": signed.wire.decode(), "received_at": "2026-11-22T12:00:00Z"}]
        with pytest.raises(HubUntrusted, match="receiving key"):
            admin.applicants(connection)
