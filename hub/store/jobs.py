"""Jobs as rows: how far each came, and the sealed blobs that were put for them."""

from dataclasses import dataclass

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update

from hub.errors import NotFound
from hub.store.tables import job_blobs, jobs
from protocol.job_record import Stage


@dataclass(frozen=True, slots=True)
class JobBlob:
    """Ciphertext that ``owner`` put; ``reader`` is whom a statement names it for, None while none does."""

    owner: str
    digest: str
    size: int
    put_at: int
    reader: str | None


def create(connection: Connection, job: str) -> None:
    connection.execute(insert(jobs).values(job=job, stage="submitted"))


def stage_of(connection: Connection, job: str) -> Stage:
    """Raises `NotFound`."""
    stage: Stage | None = connection.execute(select(jobs.c.stage).where(jobs.c.job == job)).scalar()
    if stage is None:
        raise NotFound(f"job {job[:64]} isn't known here")
    return stage


def set_stage(connection: Connection, job: str, stage: Stage) -> None:
    connection.execute(update(jobs).where(jobs.c.job == job).values(stage=stage))


def put_blob(connection: Connection, blob: JobBlob) -> None:
    connection.execute(
        insert(job_blobs).values(
            owner=blob.owner, digest=blob.digest, size=blob.size, put_at=blob.put_at, reader=blob.reader
        )
    )


def blob_of(connection: Connection, owner: str, digest: str) -> JobBlob | None:
    row = connection.execute(select(job_blobs).where(job_blobs.c.owner == owner, job_blobs.c.digest == digest)).first()
    return None if row is None else JobBlob(row.owner, row.digest, row.size, row.put_at, row.reader)


def blob_for(connection: Connection, reader: str, digest: str) -> JobBlob | None:
    row = connection.execute(
        select(job_blobs).where(job_blobs.c.reader == reader, job_blobs.c.digest == digest)
    ).first()
    return None if row is None else JobBlob(row.owner, row.digest, row.size, row.put_at, row.reader)


def name_blob(connection: Connection, owner: str, digest: str, reader: str) -> None:
    """A statement names the blob: ``reader`` may get it from now on."""
    where = (job_blobs.c.owner == owner, job_blobs.c.digest == digest)
    connection.execute(update(job_blobs).where(*where).values(reader=reader))


def forget_blob(connection: Connection, owner: str, digest: str) -> None:
    connection.execute(delete(job_blobs).where(job_blobs.c.owner == owner, job_blobs.c.digest == digest))


def put_before(connection: Connection, outputs: int, code: int, unnamed: int) -> list[JobBlob]:
    """Blobs that were put before the time that counts for them: outputs of silos, code of persons, unnamed ones."""
    of_silo, named = job_blobs.c.owner.startswith("silo:"), job_blobs.c.reader.is_not(None)
    old = or_(
        and_(named, of_silo, job_blobs.c.put_at < outputs),
        and_(named, ~of_silo, job_blobs.c.put_at < code),
        and_(~named, job_blobs.c.put_at < unnamed),
    )
    rows = connection.execute(select(job_blobs).where(old))
    return [JobBlob(row.owner, row.digest, row.size, row.put_at, row.reader) for row in rows]


def unnamed(connection: Connection, owner: str) -> int:
    """How many blobs of ``owner`` no statement names."""
    query = select(func.count()).where(job_blobs.c.owner == owner, job_blobs.c.reader.is_(None))
    return connection.execute(query).scalar_one()


def forget_unnamed(connection: Connection, owner: str, put_before: int) -> list[str]:
    """Take the rows of blobs away that no statement came to name; their digests."""
    where = (job_blobs.c.owner == owner, job_blobs.c.reader.is_(None), job_blobs.c.put_at < put_before)
    old = list(connection.execute(select(job_blobs.c.digest).where(*where)).scalars())
    connection.execute(delete(job_blobs).where(*where))
    return old
