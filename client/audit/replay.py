"""The log replayed, statement by statement, by the rules that the silos follow too.

What an invitation, an enrolment and a membership need of each other is checked here; whose signature counts in
``protocol.chain``, every budget in ``protocol.spending``, every study's order of events in ``protocol.record``, and
every job's in ``protocol.job_record``.
"""

from collections import Counter
from dataclasses import dataclass, field

from client.audit.dating import Dated
from client.audit.witnessing import Witnessing
from client.errors import AuditFailed
from protocol.chain import STATEMENT_KINDS, CharterChain
from protocol.charter import Charter, charter_digest
from protocol.errors import ProtocolError, RuleBroken
from protocol.export import Header
from protocol.job_record import JobRecord, submitted
from protocol.job_statements import (
    JobAccepted,
    JobDiscarded,
    JobRefused,
    JobReleased,
    JobStep,
    JobSubmitted,
    JobWithdrawn,
)
from protocol.membership_statements import (
    CapDeclared,
    CharterProposed,
    CharterPublished,
    CharterSigned,
    DatasetRegistered,
    DomainDeclared,
    Enrolment,
    Invitation,
)
from protocol.record import StudyRecord
from protocol.round_record import RoundRecord
from protocol.round_statements import RoundClosed, RoundVoided, SharesRevealed, UploadComplete
from protocol.signing import Signed
from protocol.spending import Spending
from protocol.statements import Body
from protocol.study import study_id
from protocol.study_statements import StudyProposed
from protocol.succession import check_change, check_signature
from protocol.translog import EMPTY_ROOT, Checkpoint, LogEntry


@dataclass(slots=True)
class Audited:
    """What a log says. ``verify_export`` gives one only after everything held; before, ``checkpoint`` is empty.

    ``header`` is the export's; ``witnessing`` is who cosigned the log, ``dated`` when a third party saw that: None if
    the export says nothing of it.
    """

    chain: CharterChain
    header: Header
    checkpoint: Checkpoint = field(default_factory=lambda: Checkpoint("none", 0, EMPTY_ROOT))
    witnessing: Witnessing | None = None
    dated: Dated | None = None
    spending: Spending = field(default_factory=Spending)
    studies: dict[str, StudyRecord] = field(default_factory=dict)
    jobs: dict[str, JobRecord] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    invited: set[str] = field(default_factory=set)
    enrolled: set[tuple[str, str, str]] = field(default_factory=set)
    drafts: dict[str, Charter] = field(default_factory=dict)
    _an_upload: UploadComplete | None = None
    _a_reveal: SharesRevealed | None = None

    @property
    def size(self) -> int:
        return self.checkpoint.size

    def take(self, index: int, entry: LogEntry, recorded: bytes | None) -> None:
        """The next leaf. Raises ``AuditFailed`` naming it."""
        self.kinds[entry.kind] += 1
        if entry.kind not in STATEMENT_KINDS:
            return  # an exchange on record (a refusal, say) decides nothing
        if recorded is None:
            why = f"the export withholds the text of this {entry.kind}; the admin or an officer can export all"
            raise AuditFailed(why, index)
        before = self.chain.charters[-1] if self.chain.charters else None
        try:
            signed = self.chain.read(entry, recorded)
            self._apply(index, entry, signed, before)
        except (ProtocolError, RuleBroken) as error:
            raise AuditFailed(str(error), index) from None

    def _apply(self, index: int, entry: LogEntry, signed: Signed, before: Charter | None) -> None:
        body = signed.body
        match body:
            case CharterPublished():
                self._admit(body.charter, before)
            case CharterProposed() | CharterSigned():
                self._draft(body)
            case Invitation():
                self.invited.add(body.silo)
            case Enrolment():
                if body.silo not in self.invited or body.charter != self.chain.founding:
                    raise RuleBroken(f"silo {body.silo} enrolled without an invitation to this charter")
                self.enrolled.add((body.silo, body.signing_key, body.receiving_key))
            case DatasetRegistered():
                self.spending.register(body)
            case DomainDeclared() | CapDeclared():
                self.spending.declare(body)
            case StudyProposed():
                self._propose(body, entry)
            case JobSubmitted():
                if signed.digest in self.jobs:
                    raise RuleBroken("job rule 1: submitted twice")
                self.jobs[signed.digest] = submitted(signed.digest, body, entry.recorded_at, self.chain.in_force)
            case JobWithdrawn() | JobAccepted() | JobRefused() | JobReleased() | JobDiscarded():
                self._step(body, entry)
            case _:
                record = self._study_of(body)
                record.apply(index, entry.recorded_at, signed, self.spending)
                if isinstance(body, RoundClosed | RoundVoided):
                    self._lighten(record.rounds[body.round])

    def _admit(self, charter: Charter, before: Charter | None) -> None:
        if before is None:
            return
        known = {(m.silo, m.signing_key, m.receiving_key) for m in before.members} | self.enrolled
        strangers = [m.silo for m in charter.members if (m.silo, m.signing_key, m.receiving_key) not in known]
        if strangers:
            raise RuleBroken(f"charter version {charter.version} admits {min(strangers)}, who never enrolled so")
        for study in self.studies.values():
            study.under(charter)

    def _draft(self, body: CharterProposed | CharterSigned) -> None:
        """A draft of the next version, or a further signature for one; neither brings anything into force."""
        held = self.chain.in_force
        if isinstance(body, CharterProposed):
            self.drafts[charter_digest(body.charter)] = body.charter
        draft = body.charter if isinstance(body, CharterProposed) else self.drafts.get(body.charter)
        if draft is None:
            raise RuleBroken(f"a signature of {body.signature.signer} for a charter that nobody proposed")
        check_change(held, draft)
        check_signature(body.signature, draft, held)

    def _propose(self, body: StudyProposed, entry: LogEntry) -> None:
        study, charter = study_id(body.contract), self.chain.in_force
        if study in self.studies:
            raise RuleBroken("study rule 1: proposed twice")
        for silo in body.contract.silo_names:
            charter.member(silo)
        for person in body.contract.recipients:
            charter.person(person)
        self.studies[study] = StudyRecord(study, body.contract, entry.recorded_at, charter)

    def _step(self, body: JobStep, entry: LogEntry) -> None:
        record = self.jobs.get(body.job)
        if record is None:
            raise RuleBroken(f"a {body.type} for a job that was not submitted")
        self.jobs[body.job] = record.after(body, entry.recorded_at)

    def _lighten(self, one: RoundRecord) -> None:
        """Keeps of a round that is over who uploaded and revealed, not what: the rules ask for nothing else of it.

        Else the statements of a million leaves would be held; the values that stay are one statement for all.
        """
        one.offers.clear()
        for silo, upload in one.uploads.items():
            one.uploads[silo] = self._an_upload = self._an_upload or upload
        for silo, revealed in one.revealed.items():
            one.revealed[silo] = self._a_reveal = self._a_reveal or revealed

    def _study_of(self, body: Body) -> StudyRecord:
        record = self.studies.get(getattr(body, "study", ""))
        if record is None:
            raise RuleBroken(f"a {body.type} for a study that was not proposed")
        return record
