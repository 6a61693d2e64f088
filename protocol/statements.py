"""What may be said: one union of all statements, a class for each type. ``protocol.signing`` signs and reads them."""

from typing import Annotated

from pydantic import Field

from protocol.job_statements import JobAccepted, JobDiscarded, JobRefused, JobReleased, JobSubmitted, JobWithdrawn
from protocol.membership_statements import (
    CapDeclared,
    CharterProposed,
    CharterPublished,
    CharterSigned,
    DatasetRegistered,
    DomainDeclared,
    Enrolment,
    Invitation,
)
from protocol.round_statements import (
    RoundClosed,
    RoundFrozen,
    RoundOpened,
    RoundReady,
    RoundVoided,
    SharesRevealed,
    SpendReserved,
    SpendSettled,
    SumServed,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.study_statements import (
    ReleaseApproved,
    ReleaseRequested,
    ReleaseSealed,
    SecretCommitment,
    SecretSealed,
    StudyAccepted,
    StudyApproved,
    StudyClosed,
    StudyKeying,
    StudyObjected,
    StudyPaused,
    StudyProposed,
    StudyRefused,
    StudyResumed,
    StudyWithdrawn,
)

Body = Annotated[
    Invitation
    | Enrolment
    | CharterPublished
    | CharterProposed
    | CharterSigned
    | DatasetRegistered
    | DomainDeclared
    | CapDeclared
    | StudyProposed
    | StudyApproved
    | StudyObjected
    | StudyAccepted
    | StudyRefused
    | StudyWithdrawn
    | StudyPaused
    | StudyResumed
    | SecretSealed
    | SecretCommitment
    | StudyKeying
    | RoundOpened
    | SpendReserved
    | SpendSettled
    | RoundReady
    | RoundFrozen
    | UploadComplete
    | SumServed
    | SurvivorsSigned
    | SharesRevealed
    | SumVerified
    | VerificationFailed
    | RoundClosed
    | RoundVoided
    | StudyClosed
    | ReleaseRequested
    | ReleaseApproved
    | ReleaseSealed
    | JobSubmitted
    | JobWithdrawn
    | JobAccepted
    | JobRefused
    | JobReleased
    | JobDiscarded,
    Field(discriminator="type"),
]
