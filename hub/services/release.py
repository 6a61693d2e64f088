"""Sealed bundles: from a silo that confirmed, to the recipient it was sealed for."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from hub.domain.study import release_ready
from hub.errors import Conflict, Forbidden, NotFound
from hub.services.course import Course
from hub.services.identity import Caller
from hub.services.recorder import Clock, Recording
from hub.services.studies import require_part
from hub.store import bundles
from hub.store import studies as study_store
from hub.store.blobs import Blobs, bundle_name
from hub.store.bundles import Bundle
from hub.store.database import Database
from protocol.signing import Signed
from protocol.study_statements import ReleaseSealed


@dataclass(frozen=True, slots=True)
class Releases:
    database: Database
    course: Course
    blobs: Blobs
    clock: Clock

    def check_upload(self, caller: Caller, study: str) -> None:
        """Before any byte is read: only a silo that confirmed a releasable bundle uploads one."""
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            state = study_store.load(connection, study)[0]
        if caller.role != "silo" or caller.name not in release_ready(state):
            needed = state.contract.release.approvals
            raise Forbidden(f"a bundle is taken from a silo that confirmed it, once {needed} silos did")

    def put(self, caller: Caller, study: str, digest: str, content: BinaryIO, size: int) -> bool:
        """Store a bundle whose digest was checked while it came in; False when it was here."""
        with self.database.reading() as connection:
            if bundles.find(connection, study, digest) is not None:
                return False
        self.blobs.store_large(bundle_name(study, digest), content)
        with self.database.writing() as connection:
            if bundles.find(connection, study, digest) is None:
                put_at = int(self.clock().timestamp())
                bundles.add(connection, Bundle(study, digest, size, caller.name, put_at))
        return True

    def get(self, caller: Caller, study: str, digest: str) -> Iterator[bytes]:
        """The bundle, for a silo of the study or the person it was sealed for."""
        with self.database.reading() as connection:
            require_part(connection, caller, study)
            state = study_store.load(connection, study)[0]
            known = bundles.find(connection, study, digest)
        mine = caller.role == "silo" or state.released.get(caller.name) == digest
        if known is None or not mine:
            raise NotFound("there is no such bundle for you; release-sealed names yours, which is kept for a while")
        return self.blobs.stream(bundle_name(study, digest))

    def seal(self, recording: Recording, signed: Signed, body: ReleaseSealed) -> int:
        """Record that a bundle is sealed; it must have arrived."""
        known = bundles.find(recording.connection, body.study, body.blob)
        if known is None or known.size != body.size:
            raise Conflict("release-sealed: blob is not here with this size; PUT it first")
        return self.course.take(recording, signed, body.study)
