"""What a researcher does with reviewed code: submit it to silos, see where it stands, open what was released."""

import base64
import hmac
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final, get_args

from pydantic import ValidationError

from client.connection import Connection
from client.errors import BundleRefused, HubUntrusted, JobNotReleased, UsageRefused
from protocol import canonical, routes
from protocol.clauses import Purpose
from protocol.errors import BadSignature, ProtocolError, RuleBroken
from protocol.ids import timestamp
from protocol.job_bundle import CodeBundle
from protocol.job_outputs import (
    SALT_BYTES,
    JobOutputs,
    bundle_context,
    output_commitment,
    outputs_context,
    read_outputs,
)
from protocol.job_record import JobRecord, submitted
from protocol.job_statements import JobAccepted, JobDiscarded, JobRefused, JobReleased, JobSubmitted, JobWithdrawn
from protocol.membership_statements import CharterPublished, DatasetRegistered
from protocol.sealing.envelope import open_envelope, seal_envelope
from protocol.sealing.errors import SealingError
from protocol.study import explain

USUAL_SECONDS: Final = 600
USUAL_MEMORY_MIB: Final = 2048
USUAL_DAYS: Final = 30


@dataclass(frozen=True, slots=True)
class JobRequest:
    """What is asked of each silo, beside the code itself."""

    name: str
    dataset: str
    columns: tuple[str, ...]
    purpose: Purpose
    reason: str
    seconds: int = USUAL_SECONDS
    memory_mib: int = USUAL_MEMORY_MIB
    days: int = USUAL_DAYS


def checked_purpose(text: str) -> Purpose:
    """``text`` as one of the purposes that a charter's silos grant. Raises ``UsageRefused`` for another."""
    for purpose in get_args(Purpose):
        if text == purpose:
            found: Purpose = purpose
            return found
    raise UsageRefused(f"--purpose {text[:40]}: it must be one of {', '.join(get_args(Purpose))}")


def submit(connection: Connection, bundle: CodeBundle, request: JobRequest, silo: str) -> str:
    """Seal the bundle for ``silo``, send it, and ask; the job's id. Raises ``UsageRefused`` for what can't be asked."""
    connection.require_current_charter()
    _check_published(connection, request, silo)
    me = connection.identity
    try:
        key = base64.b64decode(connection.log.charter.member(silo).receiving_key, validate=True)
    except BadSignature:
        raise UsageRefused(f"--silo {silo}: no member of the consortium has this name") from None
    sealed = seal_envelope(bundle.encode(), key, bundle_context(bundle.digest, me.person, silo))
    blob = canonical.digest(sealed)
    try:
        body = _request(connection, bundle, request, silo, blob, len(sealed))
    except ValidationError as error:
        raise UsageRefused(f"job refused: {explain(error)}") from None
    connection.session.put_bytes(routes.JOB_BLOB.format(digest=blob), sealed)
    return connection.publish(body).entry.digest


def _request(
    connection: Connection, bundle: CodeBundle, request: JobRequest, silo: str, blob: str, size: int
) -> JobSubmitted:
    return JobSubmitted(
        type="job-submitted",
        silo=silo,
        name=request.name,
        bundle=bundle.digest,
        blob=blob,
        size=size,
        dataset=request.dataset,
        columns=request.columns,
        purpose=request.purpose,
        reason=request.reason,
        seconds=request.seconds,
        memory_mib=request.memory_mib,
        expires_at=timestamp(connection.now() + timedelta(days=request.days)),
        **connection.heading(),
    )


def jobs(connection: Connection) -> dict[str, JobRecord]:
    """By id, this person's jobs as the verified log tells them. Raises ``HubUntrusted`` for a broken order."""
    found: dict[str, JobRecord] = {}
    charter = None
    for record in connection.log.records:
        body = record.signed.body if record.signed is not None else None
        at = record.entry.recorded_at
        try:
            match body:
                case CharterPublished():
                    charter = body.charter
                case JobSubmitted() if charter is not None and body.issuer == connection.identity.party:
                    found[record.entry.digest] = submitted(record.entry.digest, body, at, charter)
                case JobWithdrawn() | JobAccepted() | JobRefused() | JobReleased() | JobDiscarded():
                    if body.job in found:
                        found[body.job] = found[body.job].after(body, at)
        except (RuleBroken, ProtocolError) as error:
            raise HubUntrusted(f"leaf {record.index} can't stand in an honest log: {error}") from None
    return found


def find_job(connection: Connection, prefix: str) -> JobRecord:
    """The one job of this person whose id begins with ``prefix``, of 8 characters at least."""
    found = [record for job, record in jobs(connection).items() if job.startswith(prefix)]
    if len(prefix) < 8 or len(found) != 1:
        raise UsageRefused(f"job {prefix[:64]}: {len(found)} jobs of yours begin so; see: consortia job list")
    return found[0]


def withdraw(connection: Connection, record: JobRecord) -> None:
    """Take a job back: nothing more is run or released for it."""
    connection.publish(JobWithdrawn(type="job-withdrawn", job=record.job, **connection.heading()))


def outputs(connection: Connection, record: JobRecord) -> JobOutputs:
    """What the silo released, opened and held against its commitment. Raises ``JobNotReleased``, ``BundleRefused``."""
    released = record.released
    if released is None:
        why = f": {record.reason}" if record.reason else ""
        raise JobNotReleased(f"job {record.job[:12]} is {record.stage}{why}; nothing of it was released")
    sealed = connection.session.get_bytes(routes.JOB_BLOB.format(digest=released.blob), released.size)
    if len(sealed) != released.size or canonical.digest(sealed) != released.blob:
        raise BundleRefused("the hub's blob is not the one that the silo sealed; try again, then call the admin")
    me = connection.identity
    context = outputs_context(record.job, record.asked.silo, me.person)
    try:
        content = open_envelope(sealed, me.receiving.private, context)
        salt, document = content[:SALT_BYTES], content[SALT_BYTES:]
        if not hmac.compare_digest(output_commitment(salt, document), released.commitment):
            raise BundleRefused("the outputs are not those that the silo committed to; tell its owner")
        return read_outputs(document)
    except (SealingError, ProtocolError) as error:
        raise BundleRefused(f"the outputs do not open: {error}") from None


def _check_published(connection: Connection, request: JobRequest, silo: str) -> None:
    published: Sequence[DatasetRegistered] = [
        body
        for _, body in connection.log.statements(DatasetRegistered)
        if body.issuer == f"silo:{silo}" and body.dataset == request.dataset
    ]
    if not published:
        raise UsageRefused(f"--dataset {request.dataset}: silo {silo} has registered no dataset of this name")
    known = {column.name for column in published[-1].columns}
    unknown = sorted(set(request.columns) - known)
    if unknown:
        raise UsageRefused(f"--columns: {request.dataset} of {silo} has no column {unknown[0]}")
