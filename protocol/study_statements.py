"""What is said of a study as a whole: its decisions, the secret that its silos share, its end and its release."""

from typing import Annotated, Literal

from pydantic import Field

from protocol.decision import Assertion
from protocol.ids import Base64, Digest, Hex32, PersonId, Sentence, SiloId, StudyId
from protocol.statement import Epoch, Statement
from protocol.study import StudyContract


class StudyProposed(Statement):
    type: Literal["study-proposed"]
    contract: StudyContract


class StudyApproved(Statement):
    """An admin's yes to the contract of this digest. ``assertion`` where the charter gives the admin a FIDO2 key."""

    type: Literal["study-approved"]
    study: StudyId
    assertion: Assertion | None


class StudyObjected(Statement):
    """An admin takes its approval back, or says why it gives none. A later approval takes the objection back."""

    type: Literal["study-objected"]
    study: StudyId
    reason: Sentence
    assertion: Assertion | None


class StudyAccepted(Statement):
    """A silo's yes. ``dataset_commitment`` is an HMAC under a key of the silo's: it binds, and tells nothing."""

    type: Literal["study-accepted"]
    study: StudyId
    policy: Digest
    dataset_commitment: Hex32
    decided_by: Literal["owner", "owner-rule"]


class StudyRefused(Statement):
    type: Literal["study-refused"]
    study: StudyId
    rule: Annotated[str, Field(min_length=1, max_length=80)]
    reason: Sentence
    decided_by: Literal["owner", "policy"]


class StudyWithdrawn(Statement):
    """A silo leaves a running study; its next round does not happen."""

    type: Literal["study-withdrawn"]
    study: StudyId
    reason: Sentence


class StudyPaused(Statement):
    """A silo whose updates went into void rounds charges and seals nothing more, until its owner says so."""

    type: Literal["study-paused"]
    study: StudyId
    reason: Sentence


class StudyResumed(Statement):
    """The owner of a paused silo lets it take part again, from the next round on."""

    type: Literal["study-resumed"]
    study: StudyId


class SecretSealed(Statement):
    """The study secret of an epoch, sealed by its key silo for one other silo (HPKE, RFC 9180)."""

    type: Literal["secret-sealed"]
    study: StudyId
    epoch: Epoch
    recipient: SiloId
    envelope: Base64


class SecretCommitment(Statement):
    type: Literal["secret-commitment"]
    study: StudyId
    epoch: Epoch
    commitment: Hex32


class StudyKeying(Statement):
    """The hub asks ``silos`` to share a new study secret, which the first of them makes (protocol.keying)."""

    type: Literal["study-keying"]
    study: StudyId
    epoch: Epoch
    silos: Annotated[tuple[SiloId, ...], Field(min_length=3, max_length=256)]


class StudyClosed(Statement):
    type: Literal["study-closed"]
    study: StudyId
    outcome: Literal["completed", "aborted", "expired"]
    reason: Sentence


class ReleaseRequested(Statement):
    type: Literal["release-requested"]
    study: StudyId


class ReleaseApproved(Statement):
    """A silo approves, and confirms the bundle it would release by a salted commitment to its bytes."""

    type: Literal["release-approved"]
    study: StudyId
    commitment: Hex32


class ReleaseSealed(Statement):
    """The bundle, sealed for one recipient; the ciphertext is the study's blob named by its SHA-256."""

    type: Literal["release-sealed"]
    study: StudyId
    recipient: PersonId
    blob: Digest
    size: Annotated[int, Field(ge=1, le=2**31)]
