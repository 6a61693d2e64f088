"""Who may say what: one table, used by the hub that receives, the silos that act, the officer who looks back."""

from typing import Literal

from protocol.charter import Charter
from protocol.decision import check_decision
from protocol.errors import BadSignature
from protocol.statements import Body, StudyApproved, StudyObjected, StudyProposed

Speaker = Literal["hub", "silo", "admin", "researcher"]

SPEAKERS: dict[str, Speaker] = {
    "invitation": "admin",
    "charter": "admin",
    "charter-proposed": "admin",
    "charter-signed": "admin",
    "enrolment": "silo",
    "dataset-registered": "silo",
    "study-proposed": "researcher",
    "study-approved": "admin",
    "study-objected": "admin",
    "study-accepted": "silo",
    "study-refused": "silo",
    "study-withdrawn": "silo",
    "study-paused": "silo",
    "study-resumed": "silo",
    "study-keying": "hub",
    "secret-sealed": "silo",
    "secret-commitment": "silo",
    "round-opened": "hub",
    "spend-reserved": "silo",
    "spend-settled": "silo",
    "round-ready": "silo",
    "round-frozen": "hub",
    "upload-complete": "silo",
    "sum-served": "hub",
    "survivors-signed": "silo",
    "shares-revealed": "silo",
    "sum-verified": "silo",
    "verification-failed": "silo",
    "round-closed": "hub",
    "round-voided": "hub",
    "study-closed": "hub",
    "release-requested": "researcher",
    "release-approved": "silo",
    "release-sealed": "silo",
}


def speaker(party: str, charter: Charter) -> str:
    """``hub``, ``silo``, or the role the charter gives a person. Raises ``BadSignature`` for strangers."""
    kind, _, name = party.partition(":")
    return charter.person(name).role if kind == "person" else kind


def check_authority(body: Body, charter: Charter) -> None:
    """Raises ``BadSignature`` unless the statement's issuer has the role for it, and decided as the charter asks."""
    needed = SPEAKERS[body.type]
    found = "silo" if body.type == "enrolment" else speaker(body.issuer, charter)
    if found != needed or (found == "silo" and not body.issuer.startswith("silo:")):
        raise BadSignature(f"{body.type} must come from the role {needed}; {body.issuer} has the role {found}")
    if isinstance(body, StudyProposed) and body.issuer != f"person:{body.contract.lead}":
        raise BadSignature(f"study-proposed must come from the contract's lead, person:{body.contract.lead}")
    if isinstance(body, StudyApproved | StudyObjected):
        check_decision(body, charter.person(body.issuer.removeprefix("person:")).decision_key)
