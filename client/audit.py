"""The whole log checked offline, from an export and one digest that came by another way.

In order: the checkpoint's signature by the log key of the pinned founding charter, the tree's root, every leaf's
digest (protocol.export); every statement's signature under the charter in force at its leaf (protocol.chain); what
an invitation, an enrolment and a membership need of each other; every budget (protocol.spending); every study's
order of events (protocol.record). The first leaf that fails is named.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from client.errors import AuditFailed
from protocol import signing
from protocol.chain import STATEMENT_KINDS, CharterChain
from protocol.charter import charter_digest
from protocol.errors import ProtocolError, RuleBroken
from protocol.export import Export, ExportRefused, VerifiedExport, read_export, verify_tree
from protocol.record import StudyRecord
from protocol.signed_note import VerifierKey
from protocol.signing import Signed
from protocol.spending import Spending
from protocol.statements import Body, CharterPublished, DatasetRegistered, Enrolment, Invitation, StudyProposed
from protocol.study import study_id
from protocol.translog import Checkpoint, LogEntry

HEADER_LINES: Final = 2


@dataclass(slots=True)
class Audited:
    """What a verified log says. Made only by ``verify_export``, after everything held."""

    chain: CharterChain
    checkpoint: Checkpoint
    spending: Spending = field(default_factory=Spending)
    studies: dict[str, StudyRecord] = field(default_factory=dict)
    kinds: Counter[str] = field(default_factory=Counter)
    invited: set[str] = field(default_factory=set)
    enrolled: set[tuple[str, str, str]] = field(default_factory=set)

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
        members = set(self.chain.in_force.members) if self.chain.charters else set()
        try:
            signed = self.chain.read(entry, recorded)
            self._apply(index, entry, signed, {(m.silo, m.signing_key, m.receiving_key) for m in members})
        except (ProtocolError, RuleBroken) as error:
            raise AuditFailed(str(error), index) from None

    def _apply(self, index: int, entry: LogEntry, signed: Signed, members: set[tuple[str, str, str]]) -> None:
        body = signed.body
        match body:
            case CharterPublished():
                self._admit(body, members)
            case Invitation():
                self.invited.add(body.silo)
            case Enrolment():
                if body.silo not in self.invited or body.charter != self.chain.founding:
                    raise RuleBroken(f"silo {body.silo} enrolled without an invitation to this charter")
                self.enrolled.add((body.silo, body.signing_key, body.receiving_key))
            case DatasetRegistered():
                self.spending.register(body)
            case StudyProposed():
                self._propose(body, entry)
            case _:
                self._study_of(body).apply(index, entry.recorded_at, signed, self.spending)

    def _admit(self, body: CharterPublished, before: set[tuple[str, str, str]]) -> None:
        after = {(m.silo, m.signing_key, m.receiving_key) for m in body.charter.members}
        strangers = sorted(silo for silo, *keys in after - before - self.enrolled)
        if strangers and body.charter.version > 1:
            raise RuleBroken(f"charter version {body.charter.version} admits {strangers[0]}, who never enrolled so")
        for study in self.studies.values():
            study.under(body.charter)

    def _propose(self, body: StudyProposed, entry: LogEntry) -> None:
        study, charter = study_id(body.contract), self.chain.in_force
        if study in self.studies:
            raise RuleBroken("study rule 1: proposed twice")
        for silo in body.contract.silo_names:
            charter.member(silo)
        for person in body.contract.recipients:
            charter.person(person)
        self.studies[study] = StudyRecord(study, body.contract, entry.recorded_at, charter)

    def _study_of(self, body: Body) -> StudyRecord:
        record = self.studies.get(getattr(body, "study", ""))
        if record is None:
            raise RuleBroken(f"a {body.type} for a study that was not proposed")
        return record


def verify_export(lines: Iterable[str], founding: str) -> Audited:
    """Everything the log proves. ``lines`` of a file opened as UTF-8 with newline="\\n"; raises ``AuditFailed``."""
    try:
        export = read_export(lines)
        tree = verify_tree(export, str(_trusted_key(export, founding)))
    except ExportRefused as error:
        leaf = error.line - HEADER_LINES
        raise AuditFailed(str(error), leaf if leaf >= 0 else None) from None
    audited = _replay(tree, founding)
    if audited.chain.digests != export.header.charters:
        raise AuditFailed("the export's header names other charters than its leaves hold")
    return audited


def _replay(tree: VerifiedExport, founding: str) -> Audited:
    audited = Audited(CharterChain(founding), tree.checkpoint)
    for index, entry, recorded in tree.records():
        audited.take(index, entry, recorded)
    return audited


def _trusted_key(export: Export, founding: str) -> VerifierKey:
    """The log key of the one charter whose digest is pinned: nothing else in the file says which key to trust."""
    for index, leaf in enumerate(export.leaves):
        if leaf.leaf.kind != "charter" or leaf.statement is None:
            continue
        try:
            body = signing.parse(leaf.statement.encode()).body
        except ProtocolError as error:
            raise AuditFailed(f"the charter's statement can't be read: {error}", index) from None
        if isinstance(body, CharterPublished) and charter_digest(body.charter) == founding:
            return VerifierKey.from_hex(body.charter.log_origin, body.charter.log_key)
        break
    raise AuditFailed(f"the log's first charter is not the pinned {founding[:16]}: another log, or an altered one")
