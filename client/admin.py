"""What an admin does beside the charter: invite silos, hear who enrolled, judge studies. All signed here."""

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError

from client.connection import Connection
from client.errors import HubUntrusted, UsageRefused
from protocol import routes, signing
from protocol.charter import key_words
from protocol.errors import ProtocolError
from protocol.ids import timestamp
from protocol.membership_statements import CharterPublished, Enrolment, Invitation
from protocol.routes import BudgetStatus, PendingEnrolment, SiloStatus
from protocol.sealing.envelope import check_public
from protocol.study import explain
from protocol.study_statements import StudyApproved, StudyObjected

CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
CODE_GROUPS: Final = 5
INVITATION_LIFE: Final = timedelta(hours=24)


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


def new_code() -> str:
    """100 random bits in Crockford's letters: XXXX-XXXX-XXXX-XXXX-XXXX."""
    letters = [secrets.choice(CROCKFORD) for _ in range(4 * CODE_GROUPS)]
    return "-".join("".join(letters[i : i + 4]) for i in range(0, len(letters), 4))


def code_digest(code: str) -> str:
    """What an invitation holds of its code: SHA-256 of the letters with their dashes, in ASCII."""
    return hashlib.sha256(code.encode("ascii")).hexdigest()


def invite(connection: Connection, silo: str, replace_keys: bool = False) -> Invite:
    """Let ``silo`` enrol once within 24 hours. Only the returned value holds the code.

    ``replace_keys`` for a member whose keys were lost, stolen, or used for long enough.
    """
    connection.require_admin()
    if silo in connection.log.charter.silos and not replace_keys:
        raise UsageRefused(f"silo {silo} is a member; choose another name, or --replace-keys if it needs new keys")
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


def hear(connection: Connection, silo: str, words: str) -> Enrolment:
    """The enrolment of ``silo``, if the six words that it read out are those of the keys that the hub has for it."""
    waiting = [one for one in applicants(connection) if one.silo == silo]
    if not waiting:
        raise UsageRefused(f"silo {silo} is not waiting to be admitted; see: consortia admin enrolments")
    heard = " ".join(words.lower().replace("-", " ").split())
    if not hmac.compare_digest(heard.encode(), waiting[0].words.encode()):
        raise UsageRefused(
            f"the words are not those of the keys that came for {silo}: someone may be between you; "
            "ask the silo to read them again, and don't admit it otherwise"
        )
    return waiting[0].request


def approval(connection: Connection, study: str) -> StudyApproved:
    """This admin's approval of a study by its id, the digest of the contract that was shown; not signed yet."""
    _may_judge(connection, study)
    return StudyApproved(type="study-approved", study=study, assertion=None, **connection.heading())


def objection(connection: Connection, study: str, reason: str) -> StudyObjected:
    """Takes back this admin's approval of a study, or says why it gives none; not signed yet."""
    _may_judge(connection, study)
    try:
        return StudyObjected(type="study-objected", study=study, reason=reason, assertion=None, **connection.heading())
    except ValidationError as error:
        raise UsageRefused(f"--reason: {explain(error)}") from None


def own_word(connection: Connection, study: str) -> tuple[int, StudyApproved | StudyObjected] | None:
    """The leaf and text of what this admin last said of the study, by the keys that it has now; or None."""
    return _last_words(connection, study).get(connection.identity.party)


def approving(connection: Connection, study: str) -> list[str]:
    """The present admins whose last word on the study is an approval."""
    words = _last_words(connection, study).items()
    return [party for party, (_, body) in words if isinstance(body, StudyApproved)]


def objecting(connection: Connection, study: str) -> dict[str, str]:
    """The present admins whose last word on the study is an objection, with its reason."""
    words = _last_words(connection, study).items()
    return {party: body.reason for party, (_, body) in words if isinstance(body, StudyObjected)}


def _last_words(connection: Connection, study: str) -> dict[str, tuple[int, StudyApproved | StudyObjected]]:
    """By party, as the record counts them (protocol.record, rule 2): by the keys of now, no word a second time."""
    last: dict[str, tuple[int, StudyApproved | StudyObjected]] = {}
    keys: dict[str, str] = {}
    heard: set[tuple[str, str]] = set()
    for record in connection.log.records:
        body = None if record.signed is None else record.signed.body
        if isinstance(body, CharterPublished):
            kept = {party for party, _ in keys.items() & body.charter.admin_keys.items()}
            last = {party: word for party, word in last.items() if party in kept}
            keys = body.charter.admin_keys
        elif isinstance(body, StudyApproved | StudyObjected) and body.study == study:
            if (body.issuer, body.nonce) not in heard:
                last[body.issuer] = (record.index, body)
            heard.add((body.issuer, body.nonce))
    return last


def _may_judge(connection: Connection, study: str) -> None:
    connection.require_admin()
    connection.require_current_charter()
    connection.log.contract(study)


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
