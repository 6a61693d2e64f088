"""Invitations and enrolments: one code, one silo name, one use, 24 hours."""

import base64
from dataclasses import dataclass
from datetime import UTC, datetime

from hub.domain.silo import Invitation, admit, check_invitation
from hub.errors import Conflict, Forbidden
from hub.services.charters import Charters
from hub.services.recorder import Recorder, Recording
from hub.store import log as log_store
from hub.store import silos as silo_store
from hub.store.database import Database
from hub.store.silos import Enrolled
from protocol import membership_statements, signing
from protocol.charter import Charter, key_words
from protocol.errors import Malformed
from protocol.ids import moment, silo_party
from protocol.ids import timestamp as as_timestamp
from protocol.membership_statements import Enrolment
from protocol.routes import EnrolmentRequest, PendingEnrolment, SiloStatus
from protocol.sealing.envelope import check_public
from protocol.sealing.errors import KeyRefused
from protocol.signing import Signed


@dataclass(frozen=True, slots=True)
class Enrolments:
    database: Database
    recorder: Recorder
    charters: Charters

    def invite(self, recording: Recording, signed: Signed, body: membership_statements.Invitation) -> int:
        """Record an admin's invitation: of a silo that is to be a member, or of a member that is to have new keys."""
        expires_at = int(moment(body.expires_at).timestamp())
        check_invitation(expires_at, recording.now)
        invitation = Invitation(signed.digest, body.silo, body.code, expires_at, None)
        silo_store.add_invitation(recording.connection, invitation)
        return recording.record(signed, silo_party(body.silo))

    def enrol(self, request: EnrolmentRequest) -> int:
        """Record a silo's request to be a member; the same request again gives the same index."""
        signed = signing.parse(request.statement.encode())
        body = signed.body
        if not isinstance(body, Enrolment) or body.issuer != silo_party(body.silo):
            raise Forbidden("enrolment: only a silo's own enrolment statement is taken here")
        signing.verify(signed, body.signing_key)
        _check_receiving_key(body)
        with self.recorder.transaction() as recording:
            connection = recording.connection
            charter = self.charters.current(connection)
            invitations = silo_store.all_invitations(connection)
            known = log_store.statement_index(connection, signed.digest)
            if known is not None:
                return known
            invitation = admit(invitations, body.silo, request.code, recording.now)
            _check_new(body, charter, self.charters.founding_digest(connection))
            if log_store.nonce_used(connection, body.issuer, body.nonce):
                raise Conflict("enrolment: its nonce was used before; make a new statement")
            if not silo_store.use_invitation(connection, invitation.statement, signed.digest):
                raise Conflict("this invitation was used; ask the admin for a new one")
            silo_store.add_enrolment(connection, Enrolled(body.silo, signed.digest, recording.now))
            return recording.record(signed)

    def pending(self) -> list[PendingEnrolment]:
        """Silos that enrolled, and are not in the charter with these keys yet."""
        with self.database.reading() as connection:
            known = {member.signing_key for member in self.charters.current(connection).members}
            found = []
            for enrolled in silo_store.enrolled(connection):
                signed = signing.parse(log_store.wire_of(connection, enrolled.statement))
                if isinstance(signed.body, Enrolment) and signed.body.signing_key not in known:
                    found.append(_pending(enrolled, signed))
            return found

    def silos(self) -> list[SiloStatus]:
        """The members, with the words of their keys."""
        with self.database.reading() as connection:
            charter = self.charters.current(connection)
            seen, datasets = silo_store.seen(connection), silo_store.dataset_names(connection)
        return [
            SiloStatus(
                silo=member.silo,
                words=key_words(member.signing_key, member.receiving_key),
                last_seen=_stamp(seen[silo_party(member.silo)]) if silo_party(member.silo) in seen else None,
                datasets=tuple(datasets.get(member.silo, ())),
            )
            for member in charter.members
        ]


def _pending(enrolled: Enrolled, signed: Signed) -> PendingEnrolment:
    return PendingEnrolment(
        silo=enrolled.silo, statement=signed.wire.decode(), received_at=_stamp(enrolled.received_at)
    )


def _check_receiving_key(body: Enrolment) -> None:
    try:
        check_public(base64.b64decode(body.receiving_key, validate=True))
    except (ValueError, KeyRefused) as error:
        raise Malformed(f"enrolment: receiving_key is no ML-KEM-768/X25519 public key: {error}") from None


def _check_new(body: Enrolment, charter: Charter, founding: str) -> None:
    if body.charter != founding:
        raise Conflict("enrolment: charter is not the digest of this hub's founding charter; compare it with the admin")
    taken = {member.signing_key for member in charter.members} | {person.signing_key for person in charter.people}
    taken |= {charter.hub_key, charter.log_key}
    if body.signing_key in taken:
        raise Conflict("enrolment: signing_key belongs to another party; make new keys")


def _stamp(seconds: int) -> str:
    return as_timestamp(datetime.fromtimestamp(seconds, UTC))
