"""What an admin does: found a consortium, invite and admit silos, add people, approve studies. All signed here."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter, ValidationError

from client.connection import Connection, heading
from client.errors import HubUntrusted, UsageRefused
from client.follow import Record
from client.keys import Card, Identity
from client.session import HubSession
from protocol import canonical, routes, signing
from protocol.charter import Charter, Role, charter_digest, check_succession, key_words
from protocol.errors import ProtocolError
from protocol.ids import Hex32, Strict, moment, timestamp
from protocol.routes import BudgetStatus, PendingEnrolment, SiloStatus
from protocol.sealing.envelope import check_public
from protocol.signing import Signed
from protocol.statements import CharterPublished, Enrolment, Invitation, StudyApproved
from protocol.study import explain

CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_GROUPS: Final = 5
INVITATION_LIFE: Final = timedelta(hours=24)
CHARTER_LIFE: Final = timedelta(days=730)


class HubCard(Strict):
    """What a hub's operator hands to the admin (consortia-hub init prints it): the hub's public keys and names."""

    consortium: Annotated[str, Field(min_length=1, max_length=120)]
    hub_key: Hex32
    log_key: Hex32
    log_origin: Annotated[str, Field(max_length=120)]


@dataclass(frozen=True, slots=True)
class Invite:
    """``code`` goes to the silo by a safe way; it holds the founding charter's digest after its dot."""

    silo: str
    code: str
    expires_at: str


@dataclass(frozen=True, slots=True)
class Applicant:
    """A silo that asked to join, with the words of the keys that it sent (or someone sent for it)."""

    silo: str
    words: str
    received_at: str
    request: Enrolment


def read_hub_card(path: Path) -> HubCard:
    """The hub's card. Raises ``UsageRefused`` with every field that is wrong."""
    try:
        return HubCard.model_validate_json(path.read_bytes())
    except OSError as error:
        raise UsageRefused(f"hub card {path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise UsageRefused(f"{path} is not a hub card (consortia-hub init makes one): {explain(error)}") from None


def founding_charter(card: HubCard, identity: Identity, now: datetime) -> Charter:
    """Version 1: the admin alone, and the keys of the hub."""
    admin = identity.card
    value = {
        "format": "consortia-charter/1",
        "consortium": card.consortium,
        "version": 1,
        "previous": None,
        "expires_at": timestamp(now + CHARTER_LIFE),
        "admin": identity.person,
        "hub_key": card.hub_key,
        "log_origin": card.log_origin,
        "log_key": card.log_key,
        "members": [],
        "people": [_person(admin, "admin")],
    }
    return _charter(value)


def found(session: HubSession, charter: Charter, identity: Identity, now: datetime) -> Signed:
    """Sign version 1 and post it to a hub that has no charter yet."""
    body = CharterPublished(type="charter", charter=charter, **heading(identity, now))
    signed = signing.sign(body, identity.signing)
    session.post_charter(signed)
    return signed


def new_code() -> str:
    """100 random bits in Crockford's letters: XXXX-XXXX-XXXX-XXXX-XXXX."""
    letters = [secrets.choice(CROCKFORD) for _ in range(4 * CODE_GROUPS)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, len(letters), 4))


def code_digest(code: str) -> str:
    """What an invitation holds of its code: SHA-256 of the letters with their dashes, in ASCII."""
    return hashlib.sha256(code.encode("ascii")).hexdigest()


def invite(connection: Connection, silo: str) -> Invite:
    """Let ``silo`` enrol once within 24 hours. Only the returned value holds the code."""
    connection.require_admin()
    if any(member.silo == silo for member in connection.log.charter.members):
        raise UsageRefused(f"silo {silo} is a member already; choose another name")
    code = new_code()
    body = _invitation(connection, silo, code)
    connection.publish(body)
    return Invite(silo, f"{code}.{connection.log.chain.founding}", body.expires_at)


def _invitation(connection: Connection, silo: str, code: str) -> Invitation:
    expires = timestamp(connection.now() + INVITATION_LIFE)
    try:
        return Invitation(
            type="invitation", silo=silo, code=code_digest(code), expires_at=expires, **connection.heading()
        )
    except ValidationError as error:
        raise UsageRefused(f"silo {silo!r}: {explain(error)}") from None


def applicants(connection: Connection) -> tuple[Applicant, ...]:
    """Silos waiting to be admitted, each request verified against an invitation of this admin's."""
    connection.require_admin()
    pending = connection.session.get(routes.ENROLMENTS, TypeAdapter(tuple[PendingEnrolment, ...]))
    return tuple(_applicant(connection, one) for one in pending)


def _applicant(connection: Connection, pending: PendingEnrolment) -> Applicant:
    log = connection.log
    try:
        signed = signing.parse(pending.statement.encode())
        log.chain.check(signed)
    except ProtocolError as error:
        raise HubUntrusted(f"the enrolment of {pending.silo} does not verify: {error}") from None
    body = signed.body
    if not isinstance(body, Enrolment) or body.silo != pending.silo or body.charter != log.chain.founding:
        raise HubUntrusted(f"what the hub shows as the enrolment of {pending.silo} is another statement")
    if not any(invitation.silo == body.silo for _, invitation in log.statements(Invitation)):
        raise HubUntrusted(f"silo {body.silo} was never invited; the hub must not have let it enrol")
    try:
        check_public(base64.b64decode(body.receiving_key, validate=True))
    except (ValueError, ProtocolError):
        raise HubUntrusted(f"the receiving key of {body.silo} is not one; ask the silo to join again") from None
    return Applicant(body.silo, key_words(body.signing_key, body.receiving_key), pending.received_at, body)


def admit(connection: Connection, silo: str, words: str) -> Charter:
    """Make ``silo`` a member if the six words that it read out are those of the keys that the hub has for it."""
    found_ = [one for one in applicants(connection) if one.silo == silo]
    if not found_:
        raise UsageRefused(f"silo {silo} is not waiting to be admitted; see: consortia admin enrolments")
    applicant = found_[0]
    heard = " ".join(words.lower().replace("-", " ").split())
    if not hmac.compare_digest(heard.encode(), applicant.words.encode()):
        raise UsageRefused(
            f"the words are not those of the keys that came for {silo}: someone may be between you; "
            "ask the silo to read them again, and don't admit it otherwise"
        )
    request = applicant.request
    member = {"silo": silo, "signing_key": request.signing_key, "receiving_key": request.receiving_key}
    return _succeed(connection, members=[member])


def add_person(connection: Connection, card: Card, role: Role) -> Charter:
    """Enter a person in the charter."""
    connection.require_admin()
    if any(person.person == card.person for person in connection.log.charter.people):
        raise UsageRefused(f"person {card.person} stands in the charter already; a name keeps its keys for good")
    return _succeed(connection, people=[_person(card, role)])


def _succeed(
    connection: Connection, members: list[dict[str, str]] | None = None, people: list[dict[str, str]] | None = None
) -> Charter:
    older = connection.log.charter
    value = older.model_dump(mode="json")
    value |= {"version": older.version + 1, "previous": charter_digest(older)}
    value["members"] += members or []
    value["people"] += people or []
    if moment(older.expires_at) - connection.now() < CHARTER_LIFE / 2:
        value["expires_at"] = timestamp(connection.now() + CHARTER_LIFE)
    charter = _charter(value)
    check_succession(older, charter)
    connection.publish(CharterPublished(type="charter", charter=charter, **connection.heading()))
    return charter


def approve(connection: Connection, study: str) -> Record:
    """Sign the approval of a study by its id, which is the digest of the contract that was shown."""
    connection.require_admin()
    connection.require_current_charter()
    connection.log.contract(study)
    return connection.publish(StudyApproved(type="study-approved", study=study, **connection.heading()))


def silos(connection: Connection) -> tuple[SiloStatus, ...]:
    """The hub's word on who was last seen when; the words are checked against the charter's keys."""
    shown = connection.session.get(routes.SILOS, TypeAdapter(tuple[SiloStatus, ...]))
    for status in shown:
        member = connection.log.charter.member(status.silo)
        if status.words != key_words(member.signing_key, member.receiving_key):
            raise HubUntrusted(f"the hub shows other words for silo {status.silo} than the charter's keys have")
    return shown


def budgets(connection: Connection) -> tuple[BudgetStatus, ...]:
    """The hub's mirror of all silos' privacy domains."""
    return connection.session.get(routes.BUDGETS, TypeAdapter(tuple[BudgetStatus, ...]))


def _person(card: Card, role: Role) -> dict[str, str]:
    return {
        "person": card.person,
        "role": role,
        "signing_key": card.signing_key,
        "receiving_key": card.receiving_key,
    }


def _charter(value: dict[str, Any]) -> Charter:
    try:
        return Charter.model_validate_json(canonical.encode(value))
    except ValidationError as error:
        raise UsageRefused(f"charter refused: {explain(error)}") from None


def utc(seconds: float) -> datetime:
    """A session clock's reading as a time with a zone."""
    return datetime.fromtimestamp(seconds, UTC)
