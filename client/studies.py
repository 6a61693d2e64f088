"""What a researcher does with studies: propose, list, watch."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from pydantic import TypeAdapter

from client.connection import Connection
from client.errors import HubUntrusted, StudyNotCompleted
from client.registrations import by_members
from protocol import routes
from protocol.calibration import build_contract
from protocol.draft import read_draft
from protocol.errors import DraftRefused
from protocol.ids import moment
from protocol.routes import StudyStatus
from protocol.study import StudyContract, study_id
from protocol.study_statements import StudyClosed, StudyProposed

ENDED: Final = frozenset({"completed", "aborted", "expired"})
LOOK_EVERY_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class Proposal:
    """A proposed study and its leaf in the log."""

    study: str
    contract: StudyContract
    leaf: int


@dataclass(frozen=True, slots=True)
class Remaining:
    """How far a running study is. ``seconds`` is None until a round has closed while watching."""

    closed: int
    total: int
    seconds: float | None


def draft_contract(connection: Connection, path: Path) -> StudyContract:
    """The contract that a draft file makes with what the silos published. Raises ``DraftRefused``."""
    draft = read_draft(path)
    contract = build_contract(draft, by_members(connection, draft.data.dataset))
    people = {person.person for person in connection.log.charter.people}
    missing = sorted({contract.lead, *contract.recipients} - people)
    if missing:
        raise DraftRefused(f"recipients: {missing[0]} does not stand in the charter; the admin adds people")
    if contract.lead != connection.identity.person:
        me = connection.identity.person
        raise DraftRefused(f"lead: {contract.lead} must sign the proposal, the key given is {me}'s")
    if moment(contract.expires_at) <= connection.now():
        raise DraftRefused(f"expires_at: {contract.expires_at} is past; give a time by which the study is done")
    return contract


def propose(connection: Connection, contract: StudyContract) -> Proposal:
    """Sign and post the proposal; proposed before, it stays as it is."""
    study = study_id(contract)
    for record, known in connection.log.statements(StudyProposed):
        if study_id(known.contract) == study:
            return Proposal(study, contract, record.index)
    connection.require_current_charter()
    body = StudyProposed(type="study-proposed", contract=contract, **connection.heading())
    return Proposal(study, contract, connection.publish(body).index)


def statuses(connection: Connection) -> tuple[StudyStatus, ...]:
    """The hub's word on all studies that concern this person."""
    return connection.session.get(routes.STUDIES, TypeAdapter(tuple[StudyStatus, ...]))


def status(connection: Connection, study: str) -> StudyStatus:
    """The hub's word on one study. Raises ``HubUntrusted`` if it speaks of another."""
    shown = connection.session.get(routes.STUDY.format(study=study), TypeAdapter(StudyStatus))
    if shown.study != study:
        raise HubUntrusted(f"asked for study {study[:12]}, the hub answers of {shown.study[:12]}")
    return shown


def watch(connection: Connection, study: str, show: Callable[[StudyStatus, Remaining], None]) -> StudyStatus:
    """Show the study's progress until it ends; its last status.

    The end is believed when the verified log says it. Raises ``StudyNotCompleted`` if it was no completion.
    """
    began, first_closed = connection.session.clock(), None
    while True:
        shown = status(connection, study)
        first_closed = shown.rounds_closed if first_closed is None else first_closed
        elapsed = connection.session.clock() - began
        show(shown, _remaining(shown, first_closed, elapsed))
        if shown.state in ENDED:
            break
        connection.session.pause(LOOK_EVERY_S)
    connection.log.refresh()
    outcome = [body for _, body in connection.log.statements(StudyClosed) if body.study == study]
    if not outcome or outcome[0].outcome != shown.state:
        raise HubUntrusted(f"the hub says that study {study[:12]} is {shown.state}; its log doesn't")
    if shown.state != "completed":
        raise StudyNotCompleted(f"study {study[:12]} was {shown.state}: {outcome[0].reason}")
    return shown


def late(shown: StudyStatus) -> tuple[str, ...]:
    """Silos that the current round still waits for."""
    current = shown.current
    if current is None or current.state in ("closed", "voided"):
        return ()
    done = {"open": current.ready, "frozen": current.uploaded, "served": current.verified}[current.state]
    expected = {"open": shown.accepted, "frozen": current.ready, "served": current.uploaded}[current.state]
    return tuple(silo for silo in expected if silo not in done and silo not in shown.suspended)


def uploads(shown: StudyStatus, silos: tuple[str, ...] | None = None) -> str:
    """How many sealed chunks of the current round the hub has of each silo, as ``berlin 120/255``.

    Of ``silos`` only, if given. Empty before the freeze and once the sum is served.
    """
    current = shown.current
    if current is None or current.state != "frozen":
        return ""
    arrived = current.chunks_received.items()
    return ", ".join(f"{silo} {count}/{current.chunks}" for silo, count in arrived if silos is None or silo in silos)


def _remaining(shown: StudyStatus, first_closed: int, elapsed: float) -> Remaining:
    closed_here = shown.rounds_closed - first_closed
    left = shown.rounds_total - shown.rounds_closed
    return Remaining(shown.rounds_closed, shown.rounds_total, elapsed / closed_here * left if closed_here > 0 else None)
