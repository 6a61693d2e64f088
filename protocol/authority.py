"""Who may do what, all of it in this file: who may say which statement, and who may call which route of the hub.

Used by the hub that receives, the silos that act, the officer who looks back. What a party may do to one study, one
silo or one release follows from the studies themselves, and is checked where those are known.
"""

from dataclasses import dataclass
from typing import Final, Literal

from protocol import routes
from protocol.charter import Charter
from protocol.decision import check_decision
from protocol.errors import BadSignature
from protocol.statements import Body
from protocol.study_statements import StudyApproved, StudyObjected, StudyProposed

Speaker = Literal["hub", "silo", "admin", "researcher"]
Role = Literal["silo", "admin", "researcher", "officer"]

SPEAKERS: dict[str, Speaker] = {
    "invitation": "admin",
    "charter": "admin",
    "charter-proposed": "admin",
    "charter-signed": "admin",
    "enrolment": "silo",
    "dataset-registered": "silo",
    "domain-declared": "silo",
    "cap-declared": "silo",
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
    "job-submitted": "researcher",
    "job-withdrawn": "researcher",
    "job-accepted": "silo",
    "job-refused": "silo",
    "job-released": "silo",
    "job-discarded": "silo",
}


@dataclass(frozen=True, slots=True)
class Access:
    """A route's ``scope``, which a token must hold, and the roles whose tokens do; neither for an open route."""

    scope: str = ""
    roles: frozenset[Role] = frozenset()

    @property
    def is_open(self) -> bool:
        return not self.roles


ROLES: Final[tuple[Role, ...]] = ("silo", "admin", "researcher", "officer")
_SILO: Final = frozenset[Role]({"silo"})
_ADMIN: Final = frozenset[Role]({"admin"})
_SPEAKERS: Final = frozenset[Role]({"silo", "admin", "researcher"})
_PARTIES: Final = frozenset[Role](ROLES)
_JOB_PARTIES: Final = frozenset[Role]({"silo", "researcher"})
_OPEN: Final = Access()

ROUTES: dict[tuple[str, str], Access] = {
    ("GET", routes.HEALTH): _OPEN,
    ("GET", routes.METRICS): _OPEN,
    ("GET", routes.OPENAPI): _OPEN,
    ("POST", routes.TOKENS): _OPEN,
    ("GET", routes.CHARTER): _OPEN,
    ("POST", routes.CHARTER): _OPEN,
    ("POST", routes.ENROLMENTS): _OPEN,
    ("GET", routes.LOG_CHECKPOINT): _OPEN,
    ("GET", routes.LOG_WITNESSED): _OPEN,
    ("GET", routes.LOG_TIMESTAMP): _OPEN,
    ("GET", routes.LOG_TILED_CHECKPOINT): _OPEN,
    ("GET", routes.LOG_TILE): _OPEN,
    ("POST", routes.LOG_COSIGNATURES): Access("log:cosign", _SILO),
    ("GET", routes.ENROLMENTS): Access("enrolments:read", _ADMIN),
    ("POST", routes.STATEMENTS): Access("statements:write", _SPEAKERS),
    ("GET", routes.POLL): Access("log:read", _PARTIES),
    ("GET", routes.LOG_CONSISTENCY): Access("log:read", _PARTIES),
    ("GET", routes.LOG_INCLUSION): Access("log:read", _PARTIES),
    ("GET", routes.LOG_EXPORT): Access("log:read", _PARTIES),
    ("GET", routes.STUDIES): Access("studies:read", _PARTIES),
    ("GET", routes.STUDY): Access("studies:read", _PARTIES),
    ("GET", routes.SILOS): Access("silos:read", _PARTIES),
    ("GET", routes.BUDGETS): Access("budgets:read", _PARTIES),
    ("GET", routes.CHUNKS): Access("terms:write", _SILO),
    ("PUT", routes.CHUNK): Access("terms:write", _SILO),
    ("PUT", routes.SHARES): Access("shares:write", _SILO),
    ("GET", routes.SHARES): Access("shares:read", _SILO),
    ("GET", routes.SUM): Access("sums:read", _SILO),
    ("PUT", routes.BLOB): Access("releases:write", _SILO),
    ("GET", routes.BLOB): Access("releases:read", _PARTIES),
    ("PUT", routes.JOB_BLOB): Access("jobs:write", _JOB_PARTIES),
    ("GET", routes.JOB_BLOB): Access("jobs:read", _JOB_PARTIES),
}
"""By method and path. A route of the hub without a row is refused when the hub starts."""


def scopes_of(role: Role) -> frozenset[str]:
    """All that a token of this role may be used for."""
    return frozenset(access.scope for access in ROUTES.values() if role in access.roles)


def role_of(party: str, charter: Charter) -> Role:
    """``silo``, or the role that the charter gives a person. Raises ``BadSignature`` for whom it doesn't name."""
    kind, _, name = party.partition(":")
    if kind == "silo":
        charter.member(name)
        return "silo"
    return charter.person(name).role


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
