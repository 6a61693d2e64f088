import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import TypeAdapter, ValidationError

from protocol.authority import check_authority
from protocol.errors import BadSignature, RuleBroken
from protocol.job_record import JobRecord, submitted
from protocol.signing import parse, sign
from protocol.statements import Body
from tests.sample_study import NOW, consortium

BODY: TypeAdapter[Body] = TypeAdapter(Body)
LATER, END = "2026-11-23T12:00:00Z", "2026-12-01T00:00:00Z"
BUNDLE, JOB = "b" * 64, "a" * 64
ASKED = {
    "type": "job-submitted", "silo": "alpha", "name": "ages", "bundle": BUNDLE, "blob": "c" * 64, "size": 2000,
    "dataset": "heart", "columns": ("age", "sex"), "purpose": "medical-research", "reason": "How old are they?",
    "seconds": 60, "memory_mib": 512, "expires_at": END,
}  # fmt: skip
STEPS = {
    "job-withdrawn": {},
    "job-accepted": {"bundle": BUNDLE, "policy": "d" * 64},
    "job-refused": {"rule": "owner", "reason": "no", "decided_by": "owner"},
    "job-released": {"commitment": "e" * 64, "blob": "f" * 64, "size": 2000, "privacy": "none"},
    "job-discarded": {"reason": "it names people"},
}


def said(kind: str, issuer: str | None = None, **changes):
    mine = "person:rosa" if kind in ("job-submitted", "job-withdrawn") else "silo:alpha"
    heading = {"issuer": issuer or mine, "issued_at": NOW, "nonce": "0" * 32, "journal_head": None}
    fields = ASKED if kind == "job-submitted" else {"type": kind, "job": JOB, **STEPS[kind]}
    return BODY.validate_python({**heading, **fields, **changes})


def job(**changes) -> JobRecord:
    return submitted(JOB, said("job-submitted", **changes), NOW, consortium().charter(4))


def test_a_job_goes_from_submission_to_release_and_says_who_asked():
    record = job()
    for kind, stage in (("job-accepted", "accepted"), ("job-released", "released")):
        record = record.after(said(kind), LATER)
        assert record.stage == stage
    assert record.researcher == "rosa"
    assert record.released == said("job-released")


@pytest.mark.parametrize("kind", ["job-accepted", "job-refused", "job-released", "job-discarded"])
def test_only_the_silo_that_was_asked_decides(kind):
    record = job() if kind in ("job-accepted", "job-refused") else job().after(said("job-accepted"), NOW)
    with pytest.raises(RuleBroken, match="it was submitted to silo:alpha"):
        record.after(said(kind, issuer="silo:beta"), NOW)


def test_only_who_submitted_withdraws():
    with pytest.raises(RuleBroken, match="did not submit"):
        job().after(said("job-withdrawn", issuer="person:grace"), NOW)


def test_each_thing_is_said_once_and_in_order():
    ends = {kind: job().after(said(kind), NOW) for kind in ("job-refused", "job-withdrawn")}
    accepted = job().after(said("job-accepted"), NOW)
    ends |= {kind: accepted.after(said(kind), NOW) for kind in ("job-released", "job-discarded")}
    for record in ends.values():
        for kind in STEPS:
            with pytest.raises(RuleBroken, match="job rules 2 to 4"):
                record.after(said(kind), NOW)
    for kind in ("job-released", "job-discarded"):
        with pytest.raises(RuleBroken):
            job().after(said(kind), NOW)
    with pytest.raises(RuleBroken):
        accepted.after(said("job-accepted"), NOW)


def test_an_approval_of_another_bundle_is_none():
    with pytest.raises(RuleBroken, match="another bundle"):
        job().after(said("job-accepted", bundle="0" * 64), NOW)


def test_nothing_is_accepted_or_released_after_the_end_but_an_owner_may_still_discard():
    accepted = job().after(said("job-accepted"), NOW)
    assert accepted.open_at(NOW) and not accepted.open_at(END)
    for record, kind in ((job(), "job-accepted"), (job(), "job-refused"), (accepted, "job-released")):
        with pytest.raises(RuleBroken, match="ended at"):
            record.after(said(kind), END)
    assert accepted.after(said("job-discarded"), END).reason == "it names people"


def test_a_submission_that_is_late_endless_or_to_a_stranger_is_none():
    with pytest.raises(RuleBroken, match="before it was recorded"):
        job(expires_at=NOW)
    with pytest.raises(RuleBroken, match="90 days"):
        job(expires_at="2027-11-22T12:00:00Z")
    with pytest.raises(BadSignature):
        job(silo="mallory")


def test_columns_are_named_once_and_a_reason_holds_no_hidden_text():
    for changes in ({"columns": ("age", "age")}, {"columns": ()}, {"reason": "fine\u202egnp"}, {"seconds": 0}):
        with pytest.raises(ValidationError):
            said("job-submitted", **changes)
    with pytest.raises(ValidationError):
        said("job-released", privacy="differential")


def test_statements_of_jobs_survive_their_journey_and_only_their_roles_say_them():
    key, charter = Ed25519PrivateKey.generate(), consortium().charter(4)
    for kind in ("job-submitted", *STEPS):
        body = said(kind)
        assert parse(sign(body, key).wire).body == body
        check_authority(body, charter)
        for issuer in ("person:ada", "hub"):
            with pytest.raises(BadSignature, match="role"):
                check_authority(body.model_copy(update={"issuer": issuer}), charter)
