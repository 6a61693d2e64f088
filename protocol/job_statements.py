"""What is said of reviewed code: a researcher's analysis for one silo, and what becomes of it there.

A job is named by the digest of its ``job-submitted`` statement. Whether it ran, and how that ended, is no statement:
an analysis can end so or so by what the rows hold, and nothing of that leaves before the owner says so.
"""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from protocol.clauses import Purpose
from protocol.ids import ColumnName, DatasetName, Digest, Hex32, Sentence, SiloId, Timestamp
from protocol.routes import MAX_JOB_BLOB_BYTES
from protocol.statement import Statement

JobId = Digest
JobName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,30}[a-z0-9]$")]
"""A researcher's name for an analysis and its later versions."""


class JobSubmitted(Statement):
    """A researcher asks ``silo`` to read a bundle of code and run it on exact rows.

    ``bundle`` is the SHA-256 of the bundle's canonical bytes (protocol.job_bundle), ``blob`` and ``size`` those of the
    same sealed for the silo. ``seconds`` of wall clock and ``memory_mib`` are the most that one run may take.
    """

    type: Literal["job-submitted"]
    silo: SiloId
    name: JobName
    bundle: Digest
    blob: Digest
    size: Annotated[int, Field(ge=1, le=MAX_JOB_BLOB_BYTES)]
    dataset: DatasetName
    columns: Annotated[tuple[ColumnName, ...], Field(min_length=1, max_length=1000)]
    purpose: Purpose
    reason: Sentence
    seconds: Annotated[int, Field(ge=1, le=86_400)]
    memory_mib: Annotated[int, Field(ge=64, le=1_048_576)]
    expires_at: Timestamp

    @model_validator(mode="after")
    def _columns_are_named_once(self) -> Self:
        if len(set(self.columns)) != len(self.columns):
            raise ValueError("columns: one is named twice")
        return self


class JobWithdrawn(Statement):
    """The researcher takes the request back: nothing more is run or released for it."""

    type: Literal["job-withdrawn"]
    job: JobId


class JobAccepted(Statement):
    """The owner of the silo read this very ``bundle`` and allows it to run; ``policy`` is the policy text's digest."""

    type: Literal["job-accepted"]
    job: JobId
    bundle: Digest
    policy: Digest


class JobRefused(Statement):
    """``rule`` names what stands in the way, or ``owner``."""

    type: Literal["job-refused"]
    job: JobId
    rule: Annotated[str, Field(min_length=1, max_length=80)]
    reason: Sentence
    decided_by: Literal["owner", "policy"]


class JobReleased(Statement):
    """The owner looked at the outputs and lets them go: exact results, which no differential privacy covers.

    ``commitment`` is salted (protocol.job_outputs): the digest of a small output would tell the output. ``blob`` and
    ``size`` are those of the outputs sealed for the researcher.
    """

    type: Literal["job-released"]
    job: JobId
    commitment: Hex32
    blob: Digest
    size: Annotated[int, Field(ge=1, le=MAX_JOB_BLOB_BYTES)]
    privacy: Literal["none"]


class JobDiscarded(Statement):
    """The owner lets nothing of an accepted job go. ``reason`` is the owner's words, for the researcher."""

    type: Literal["job-discarded"]
    job: JobId
    reason: Sentence


JobStatement = JobSubmitted | JobWithdrawn | JobAccepted | JobRefused | JobReleased | JobDiscarded
JobStep = JobWithdrawn | JobAccepted | JobRefused | JobReleased | JobDiscarded
