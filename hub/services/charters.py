"""The charter in force: pinned once from its own admins, then followed by its rules of succession."""

from dataclasses import dataclass

from sqlalchemy import Connection

from hub.config.key_ring import KeyRing
from hub.errors import Conflict, Expired, Forbidden, NotFound, SetupRefused
from hub.services.pinned_charter import PinnedCharter
from hub.services.recorder import Recorder, Recording
from hub.store import log as log_store
from hub.store import silos as silo_store
from hub.store.database import Database
from protocol.authority import check_authority
from protocol.charter import Charter, charter_digest
from protocol.ids import timestamp
from protocol.membership_statements import CharterProposed, CharterPublished, CharterSigned
from protocol.signing import Signed, parse, verify_by
from protocol.succession import check_change, check_founding, check_signature, check_succession


@dataclass(frozen=True, slots=True)
class Charters:
    """`log_origin` and `consortium` are this hub's own; a charter for another hub is refused."""

    database: Database
    recorder: Recorder
    pinned: PinnedCharter
    keys: KeyRing
    log_origin: str
    consortium: str

    def current(self, connection: Connection) -> Charter:
        """The charter in force at this point of a transaction. Raises `NotFound` before the first."""
        return self.pinned.current(connection)

    def recent(self) -> Charter:
        """The charter as of a second ago at most: for telling who calls, not for what is recorded."""
        return self.pinned.recent()

    def founding_digest(self, connection: Connection) -> str:
        return silo_store.charter_statements(connection)[0][0]

    def found(self, wire: bytes) -> int:
        """Pin the founding charter; the same bytes again give the same index. Raises `Conflict` or `Forbidden`."""
        signed = parse(wire)
        body = signed.body
        if not isinstance(body, CharterPublished):
            raise Forbidden("only a charter statement is taken here")
        self._check_own(body.charter)
        check_founding(body.charter, body.signatures, charter_digest(body.charter))
        check_authority(body, body.charter)
        verify_by(signed, body.charter)
        with self.recorder.transaction() as recording:
            known = log_store.statement_index(recording.connection, signed.digest)
            if known is not None:
                return known
            if silo_store.charter_version(recording.connection):
                raise Conflict("a charter is pinned; a new version is a statement of an admin, sent with a token")
            if body.charter.expires_at <= timestamp(recording.moment):
                raise Expired(f"charter: it ended at {body.charter.expires_at}")
            return self._add(recording, signed, body.charter)

    def succeed(self, recording: Recording, signed: Signed, body: CharterPublished) -> int:
        """Record the next version. Raises `CharterRefused` naming the rule it breaks."""
        current = self.current(recording.connection)
        check_succession(current, body.charter, body.signatures)
        self._check_keys(body.charter)
        for silo in set(current.silos) - set(body.charter.silos):
            silo_store.forget_enrolment(recording.connection, silo)
        return self._add(recording, signed, body.charter)

    def propose(self, recording: Recording, signed: Signed, body: CharterProposed) -> int:
        """Record a draft of the next version, with its first signature."""
        current = self.current(recording.connection)
        check_change(current, body.charter)
        self._check_keys(body.charter)
        check_signature(body.signature, body.charter, current)
        return recording.record(signed)

    def sign(self, recording: Recording, signed: Signed, body: CharterSigned) -> int:
        """Record a further signature for a draft that may still follow the charter in force."""
        current = self.current(recording.connection)
        draft = self._draft(recording.connection, body.charter, current)
        check_signature(body.signature, draft, current)
        return recording.record(signed)

    def _draft(self, connection: Connection, digest: str, current: Charter) -> Charter:
        for wire in log_store.wires_of_kind(connection, "charter-proposed"):
            body = parse(wire).body
            if isinstance(body, CharterProposed) and charter_digest(body.charter) == digest:
                check_change(current, body.charter)
                return body.charter
        raise NotFound(f"charter {digest[:16]}: no draft of this digest was proposed")

    def wires(self) -> list[bytes]:
        """The charter statements, oldest first."""
        with self.database.reading() as connection:
            return [log_store.wire_of(connection, digest) for _, digest in silo_store.charter_statements(connection)]

    def _check_own(self, charter: Charter) -> None:
        if (charter.log_origin, charter.consortium) != (self.log_origin, self.consortium):
            raise Forbidden("charter: log_origin and consortium must be those of this hub's card")
        self._check_keys(charter)

    def _check_keys(self, charter: Charter) -> None:
        """Else nothing that this hub says would count any more."""
        try:
            found = self.keys.find(charter.hub_key, charter.log_key)
        except SetupRefused as problem:
            raise Forbidden(f"charter: the hub can't use the keys that it names: {problem}") from None
        if found is None:
            raise Forbidden(
                "charter: hub_key and log_key must be a pair that this hub holds, as its card says; "
                "its operator makes the next pair with consortia-hub rotate"
            )

    def _add(self, recording: Recording, signed: Signed, charter: Charter) -> int:
        silo_store.add_charter(recording.connection, charter.version, charter_digest(charter), signed.digest)
        recording.afterwards.append(self.pinned.renew)
        return recording.record(signed)
