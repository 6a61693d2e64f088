"""Reviewed code: from a researcher to one silo, its outputs back. The hub relays ciphertext and keeps the order."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from hub.audit.merkle import LogDamaged
from hub.errors import Conflict, NotFound
from hub.services.identity import Caller
from hub.services.recorder import Clock, Recording
from hub.store import jobs as job_store
from hub.store import log as log_store
from hub.store.blobs import Blobs, job_blob_folder
from hub.store.database import Database
from hub.store.jobs import JobBlob
from protocol.charter import Charter
from protocol.errors import BadSignature, RuleBroken
from protocol.ids import silo_party, timestamp
from protocol.job_record import OPEN, JobRecord, submitted
from protocol.job_statements import JobReleased, JobStep, JobSubmitted
from protocol.signing import Signed, parse

MAX_UNNAMED: Final = 64
"""Most blobs of one party that no statement names yet: who puts more has to submit or release first."""
UNNAMED_S: Final = 86_400
SEALED: Final = "sealed"


@dataclass(frozen=True, slots=True)
class Jobs:
    database: Database
    blobs: Blobs
    clock: Clock

    def check_upload(self, caller: Caller) -> None:
        """Before any byte is read. Raises `Conflict` for who left too many blobs lying."""
        now = int(self.clock().timestamp())
        with self.database.writing() as connection:
            old = job_store.forget_unnamed(connection, caller.party, now - UNNAMED_S)
            count = job_store.unnamed(connection, caller.party)
        self.blobs.delete_under(job_blob_folder(caller.party, digest) for digest in old)
        if count >= MAX_UNNAMED:
            raise Conflict(f"{count} blobs of yours are named by no statement yet; they go within a day")

    def put(self, caller: Caller, digest: str, content: BinaryIO, size: int) -> bool:
        """Store a blob whose digest was checked while it came in; False when it was here."""
        with self.database.reading() as connection:
            if job_store.blob_of(connection, caller.party, digest) is not None:
                return False
        self.blobs.store_large(job_blob_folder(caller.party, digest) + SEALED, content)
        with self.database.writing() as connection:
            if job_store.blob_of(connection, caller.party, digest) is None:
                put_at = int(self.clock().timestamp())
                job_store.put_blob(connection, JobBlob(caller.party, digest, size, put_at, None))
        return True

    def get(self, caller: Caller, digest: str) -> Iterator[bytes]:
        """The blob, for whom a recorded statement names it."""
        with self.database.reading() as connection:
            blob = job_store.blob_for(connection, caller.party, digest)
        if blob is None:
            raise NotFound(
                "there is no such blob for you; job-submitted or job-released names yours, which is kept for a while"
            )
        return self.blobs.stream(job_blob_folder(blob.owner, digest) + SEALED)

    def submit(self, recording: Recording, signed: Signed, body: JobSubmitted, charter: Charter) -> int:
        """Record a request whose bundle has arrived."""
        try:
            submitted(signed.digest, body, timestamp(recording.moment), charter)
        except (RuleBroken, BadSignature) as error:
            raise Conflict(f"job-submitted: {error}") from None
        party = silo_party(body.silo)
        _name_blob(recording, body, party)
        job_store.create(recording.connection, signed.digest)
        return recording.record(signed, party)

    def step(self, recording: Recording, signed: Signed, body: JobStep) -> int:
        """Record what became of a job, in its order. Raises `NotFound` for a job of others too."""
        record = _load(recording, body.job)
        parties = (record.asked.issuer, silo_party(record.asked.silo))
        if body.issuer not in parties:
            raise NotFound(f"job {body.job} isn't known here")
        try:
            after = record.after(body, timestamp(recording.moment))
        except RuleBroken as error:
            raise Conflict(str(error)) from None
        if isinstance(body, JobReleased):
            _name_blob(recording, body, record.asked.issuer)
        job_store.set_stage(recording.connection, body.job, after.stage)
        if after.stage not in OPEN:
            self._drop_bundle(recording, record.asked)
        return recording.record(signed, parties[0] if body.issuer == parties[1] else parties[1])

    def _drop_bundle(self, recording: Recording, asked: JobSubmitted) -> None:
        """The silo has no more use for the sealed code."""
        job_store.forget_blob(recording.connection, asked.issuer, asked.blob)
        folder = job_blob_folder(asked.issuer, asked.blob)
        recording.afterwards.append(lambda: self.blobs.delete_under([folder]))


def _load(recording: Recording, job: str) -> JobRecord:
    stage = job_store.stage_of(recording.connection, job)
    asked = parse(log_store.wire_of(recording.connection, job)).body
    if not isinstance(asked, JobSubmitted):
        raise LogDamaged(f"the statement that job {job[:12]} is named by is another")
    return JobRecord(job, asked, stage)


def _name_blob(recording: Recording, body: JobSubmitted | JobReleased, reader: str) -> None:
    blob = job_store.blob_of(recording.connection, body.issuer, body.blob)
    if blob is None or blob.size != body.size:
        raise Conflict(f"{body.type}: blob is not here with this size; PUT it first")
    if blob.reader is not None:
        raise Conflict(f"{body.type}: blob was named by another statement before; seal it anew")
    job_store.name_blob(recording.connection, body.issuer, body.blob, reader)
