"""The one door for signed statements: parse, match the caller, verify, authorise, apply, record; all or none."""

from collections.abc import Sequence
from dataclasses import dataclass

from hub.errors import BadRequest, Conflict, Forbidden, Refused
from hub.services.budgets import Budgets
from hub.services.charters import Charters
from hub.services.course import Course
from hub.services.enrolment import Enrolments
from hub.services.identity import Caller
from hub.services.jobs import Jobs
from hub.services.recorder import Recorder, Recording
from hub.services.release import Releases
from hub.services.studies import Studies
from hub.store import log as log_store
from protocol.authority import check_authority
from protocol.charter import Charter
from protocol.errors import BadSignature, ProtocolError
from protocol.ids import person_party
from protocol.job_statements import JobAccepted, JobDiscarded, JobRefused, JobReleased, JobSubmitted, JobWithdrawn
from protocol.membership_statements import (
    CapDeclared,
    CharterProposed,
    CharterPublished,
    CharterSigned,
    DatasetRegistered,
    DomainDeclared,
    Invitation,
)
from protocol.routes import MAX_STATEMENTS_PER_POST
from protocol.signing import Signed, parse, verify_by
from protocol.statements import Body
from protocol.study_statements import ReleaseRequested, ReleaseSealed, StudyProposed


@dataclass(frozen=True, slots=True)
class Statements:
    recorder: Recorder
    charters: Charters
    enrolments: Enrolments
    studies: Studies
    budgets: Budgets
    releases: Releases
    jobs: Jobs
    course: Course

    def post(self, caller: Caller, wires: Sequence[bytes]) -> tuple[int, ...]:
        """Log indices of the statements, in order. Nothing is recorded unless all of them are."""
        if not 1 <= len(wires) <= MAX_STATEMENTS_PER_POST:
            raise BadRequest(f"{len(wires)} statements: 1 to {MAX_STATEMENTS_PER_POST} are taken at once")
        parsed = [parse(wire) for wire in wires]
        indices: list[int] = []
        authentic = 0
        try:
            with self.recorder.transaction() as recording:
                charter = self.charters.current(recording.connection)
                for signed in parsed:
                    _check_authentic(signed, caller, charter)
                    authentic += 1
                for signed in parsed:
                    indices.append(self._take(recording, signed, caller, charter))
                    charter = self.charters.current(recording.connection)
        except (Refused, ProtocolError) as error:
            if authentic == len(parsed):
                self._log_refusal(parsed[len(indices)], str(error))
            raise
        return tuple(indices)

    def _take(self, recording: Recording, signed: Signed, caller: Caller, charter: Charter) -> int:
        known = log_store.statement_index(recording.connection, signed.digest)
        if known is not None:
            return known
        body = signed.body
        if log_store.nonce_used(recording.connection, body.issuer, body.nonce):
            raise Conflict(f"{body.type}: its nonce was used in another statement; make a new one")
        _check_allowed(body, charter)
        return self._dispatch(recording, signed, charter)

    def _dispatch(self, recording: Recording, signed: Signed, charter: Charter) -> int:
        body = signed.body
        match body:
            case Invitation():
                return self.enrolments.invite(recording, signed, body)
            case CharterPublished():
                index = self.charters.succeed(recording, signed, body)
                self.studies.under(recording, body.charter)
                return index
            case CharterProposed():
                return self.charters.propose(recording, signed, body)
            case CharterSigned():
                return self.charters.sign(recording, signed, body)
            case DatasetRegistered():
                self.budgets.register(recording, body, signed.digest)
                return recording.record(signed)
            case DomainDeclared() | CapDeclared():
                return recording.record(signed)  # The silo's own ledger binds it; here it stands for officers to read.
            case StudyProposed():
                return self.studies.propose(recording, signed, body, charter)
            case ReleaseSealed():
                return self.releases.seal(recording, signed, body)
            case JobSubmitted():
                return self.jobs.submit(recording, signed, body, charter)
            case JobWithdrawn() | JobAccepted() | JobRefused() | JobReleased() | JobDiscarded():
                return self.jobs.step(recording, signed, body)
            case ReleaseRequested():
                self._require_lead(recording, body)
        study: str = getattr(body, "study", "")
        return self.course.take(recording, signed, study)

    def _require_lead(self, recording: Recording, body: ReleaseRequested) -> None:
        lead = self.course.load(recording, body.study).study.contract.lead
        if body.issuer != person_party(lead):
            raise Forbidden(f"release-requested: only the lead {lead} asks for the release")

    def _log_refusal(self, signed: Signed, reason: str) -> None:
        with self.recorder.transaction() as recording:
            known = log_store.statement_index(recording.connection, signed.digest)
            if known is None:
                recording.refuse(signed.wire, signed.body.issuer, getattr(signed.body, "study", None), reason)


def _check_allowed(body: Body, charter: Charter) -> None:
    """By the one table of who may say what; an enrolment has a door of its own, where its code is checked."""
    if body.type == "enrolment":
        raise Forbidden("enrolment: send it with its invitation's code to /v1/enrolments")
    try:
        check_authority(body, charter)
    except BadSignature as error:
        raise Forbidden(str(error)) from None


def _check_authentic(signed: Signed, caller: Caller, charter: Charter) -> None:
    if signed.body.issuer != caller.party:
        raise Forbidden(f"{signed.body.type}: its issuer is {signed.body.issuer}, the token is of {caller.party}")
    verify_by(signed, charter)
