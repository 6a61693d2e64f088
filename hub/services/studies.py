"""Proposing studies, and showing where they stand."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sqlalchemy import Connection

from hub.aggregation.quorum import survivors_digest
from hub.audit.merkle import LogDamaged
from hub.domain.round import OVER, Round
from hub.domain.study import FINAL, Study, under
from hub.errors import Conflict, Expired, Forbidden, NotFound
from hub.services.course import Course
from hub.services.identity import Caller
from hub.services.recorder import Recording
from hub.store import log as log_store
from hub.store import rounds as round_store
from hub.store import silos as silo_store
from hub.store import studies as study_store
from hub.store.database import Database
from protocol.charter import Charter
from protocol.errors import BadSignature
from protocol.ids import person_party, timestamp
from protocol.membership_statements import DatasetRegistered
from protocol.rounds import last_round, plan_round, round_layout
from protocol.routes import RoundProgress, StudyStatus
from protocol.signing import Signed, parse
from protocol.study import StudyContract, study_id
from protocol.study_statements import StudyProposed


@dataclass(frozen=True, slots=True)
class Studies:
    database: Database
    course: Course

    def propose(self, recording: Recording, signed: Signed, body: StudyProposed, charter: Charter) -> int:
        """Record a contract whose parties, datasets and numbers fit. Raises what doesn't, by name."""
        contract = body.contract
        if body.issuer != person_party(contract.lead):
            raise Forbidden(f"study-proposed: the lead {contract.lead} proposes the study, not {body.issuer}")
        if contract.expires_at <= timestamp(recording.moment):
            raise Expired(f"expires_at: the contract ended at {contract.expires_at}")
        _check_parties(contract, charter)
        for silo in contract.silo_names:
            _check_dataset(recording.connection, contract, silo)
        study = Study(study_id(contract), contract, recording.now, charter.admin_keys, charter.threshold)
        try:
            study_store.load(recording.connection, study.id)
        except NotFound:
            study_store.create(recording.connection, study)
            return recording.record(signed)
        raise Conflict("study-proposed: this very contract was proposed before")

    def under(self, recording: Recording, charter: Charter) -> None:
        """Take every study that is not over on, under a charter that came into force."""
        for study in study_store.unfinished(recording.connection):
            before = self.course.load(recording, study)
            self.course.settle(recording, before, replace(before, study=under(before.study, charter)))

    def visible(self, caller: Caller) -> list[StudyStatus]:
        """The studies a party has a part in; all of them for admins and officers."""
        with self.database.reading() as connection:
            party = None if caller.reader.everything else caller.party
            return [self._status(connection, study) for study in study_store.of_party(connection, party)]

    def one(self, caller: Caller, study: str) -> StudyStatus:
        """Raises `NotFound` also where the caller has no part: a name alone tells nothing."""
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            return self._status(connection, study_store.load(connection, study)[0])

    def _status(self, connection: Connection, study: Study) -> StudyStatus:
        newest = round_store.latest(connection, study.id)
        decided = {*study.accepted, *study.refused}
        return StudyStatus(
            study=study.id,
            title=study.contract.title,
            state=study.stage,
            reason=study.reason,
            lead=study.contract.lead,
            proposed_at=_stamp(study.proposed_at),
            approvals=study.approvals,
            approvals_needed=study.threshold,
            objections=dict(study.objections),
            accepted=study.accepted,
            refused=dict(study.refused),
            withdrawn=dict(study.left),
            waiting=() if study.stage in FINAL else tuple(s for s in study.contract.silo_names if s not in decided),
            suspended=study.suspended,
            paused=study.paused,
            rounds_total=last_round(study.contract) + 1,
            rounds_closed=round_store.count_over(connection, study.id),
            current=None if newest is None else _progress(connection, study, newest[0]),
            released_to=tuple(study.released),
        )


def require_part(connection: Connection, caller: Caller, study: str) -> None:
    if not caller.reader.everything and not study_store.is_party(connection, study, caller.party):
        raise NotFound(f"study {study[:64]} isn't known here")


def _check_parties(contract: StudyContract, charter: Charter) -> None:
    try:
        for silo in contract.silo_names:
            charter.member(silo)
        for person in (contract.lead, *contract.recipients):
            charter.person(person)
    except BadSignature as error:
        raise Conflict(f"study-proposed: {error}") from None


def _check_dataset(connection: Connection, contract: StudyContract, silo: str) -> None:
    registered = silo_store.dataset(connection, silo, contract.data.dataset)
    if registered is None:
        raise Conflict(f"data.dataset: silo {silo} has not registered {contract.data.dataset}")
    body = parse(log_store.wire_of(connection, registered[1])).body
    if not isinstance(body, DatasetRegistered):
        raise LogDamaged(f"the registration of dataset {contract.data.dataset} of silo {silo} is another statement")
    kinds = {column.name: column.kind for column in body.columns}
    for column in contract.data.columns:
        if kinds.get(column.name) != column.kind:
            raise Conflict(f"data: silo {silo} registered no {column.kind} column {column.name}")
    rows = contract.terms_of(silo).rows
    if rows != body.rows:
        raise Conflict(f"silos: rows of {silo} are {rows}, published are {body.rows}")
    if body.unit == "subject" and contract.privacy.unit == "record":
        raise Conflict(f"privacy.unit: {contract.privacy.unit}, silo {silo} protects a {body.unit}")


def _progress(connection: Connection, study: Study, round: Round) -> RoundProgress:
    up, down = round_store.volume(connection, round, survivors_digest(round.survivors))
    arrived = round_store.counts(connection, round)
    return RoundProgress(
        round=round.index,
        stage=plan_round(study.contract, round.index).stage,
        attempt=round.attempt,
        state=round.state,
        ready=tuple(round.ready),
        uploaded=round.complete,
        verified=tuple(silo for silo, mac in round.answers.items() if mac is not None),
        due_at=None if round.state in OVER else _stamp(round.due_at),
        chunks=round_layout(study.contract, round.index, len(round.frozen)).chunks if round.frozen else 0,
        chunks_received={silo: arrived.get(silo, 0) for silo in round.frozen},
        bytes_up=up,
        bytes_down=down,
        opened_at=_stamp(round.opened_at),
        closed_at=None if round.closed_at is None else _stamp(round.closed_at),
    )


def _stamp(seconds: int) -> str:
    return timestamp(datetime.fromtimestamp(seconds, UTC))
