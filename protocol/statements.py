"""What may be said: the bodies of all statements, a class for each type. ``protocol.signing`` signs and reads them."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from protocol.charter import Charter
from protocol.decision import Assertion
from protocol.heading import Statement
from protocol.ids import (
    Base64,
    DatasetName,
    Digest,
    DomainName,
    Hex32,
    PersonId,
    Sentence,
    SiloId,
    StudyId,
    Timestamp,
)
from protocol.job_statements import JobAccepted, JobDiscarded, JobRefused, JobReleased, JobSubmitted, JobWithdrawn
from protocol.sealing.errors import KeyRefused
from protocol.sealing.masks import check_mask_key
from protocol.spend import Event
from protocol.study import Column, StudyContract, Unit
from protocol.succession import CharterSignature

RoundIndex = Annotated[int, Field(ge=0, le=100_000)]
Attempt = Annotated[int, Field(ge=1, le=1000)]
Epoch = Annotated[int, Field(ge=1, le=100_000)]
"""Which of a study's secrets is meant: a new one comes after a void round, and when a holder leaves."""


def _usable_mask_key(key: str) -> str:
    try:
        check_mask_key(bytes.fromhex(key))
    except KeyRefused as refusal:
        raise ValueError(str(refusal)) from None
    return key


class Invitation(Statement):
    """An admin lets ``silo`` enrol once. ``code`` is the SHA-256 of the code, which only the silo gets."""

    type: Literal["invitation"]
    silo: SiloId
    code: Digest
    expires_at: Timestamp


class Enrolment(Statement):
    """A silo asks to be a member. ``charter`` is the founding charter's digest it was invited with."""

    type: Literal["enrolment"]
    silo: SiloId
    signing_key: Hex32
    receiving_key: Base64
    charter: Digest


class CharterPublished(Statement):
    """A version with all the signatures that it needs (``protocol.succession``): it is in force from here on."""

    type: Literal["charter"]
    charter: Charter
    signatures: Annotated[tuple[CharterSignature, ...], Field(min_length=1, max_length=200)]


class CharterProposed(Statement):
    """An admin's draft of the next version, with the first of the signatures that it needs."""

    type: Literal["charter-proposed"]
    charter: Charter
    signature: CharterSignature


class CharterSigned(Statement):
    """A further signature for the draft whose digest is ``charter``; its signer need not be who sends it."""

    type: Literal["charter-signed"]
    charter: Digest
    signature: CharterSignature


class DatasetRegistered(Statement):
    """What a silo makes known of a dataset: its schema, published row count and privacy domain's cap."""

    type: Literal["dataset-registered"]
    dataset: DatasetName
    columns: Annotated[tuple[Column, ...], Field(min_length=1, max_length=10_000)]
    rows: Annotated[int, Field(ge=1, le=10**10)]
    domain: DomainName
    unit: Unit
    epsilon: Annotated[float, Field(gt=0, le=1000)]
    delta: Annotated[float, Field(gt=0, lt=0.1)]
    order: Annotated[int, Field(ge=2, le=256)]


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


class RoundOpened(Statement):
    type: Literal["round-opened"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    silos: Annotated[tuple[SiloId, ...], Field(min_length=3, max_length=256)]
    due_at: Timestamp


class SpendReserved(Statement):
    type: Literal["spend-reserved"]
    study: StudyId
    round: RoundIndex
    domain: DomainName
    events: Annotated[tuple[Event, ...], Field(min_length=1, max_length=16)]
    ledger_head: Hex32


class SpendSettled(Statement):
    type: Literal["spend-settled"]
    study: StudyId
    round: RoundIndex
    domain: DomainName
    events: Annotated[tuple[Event, ...], Field(max_length=16)]
    ledger_head: Hex32


class RoundReady(Statement):
    """The silo's offer for the masks of this attempt. ``mask_key`` is a fresh X25519 public key, which also commits to
    its private key; ``shares`` names the bundle of Shamir shares that the hub relays to the other holders."""

    type: Literal["round-ready"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    mask_key: Annotated[Hex32, AfterValidator(_usable_mask_key)]
    self_commitment: Hex32
    shares: Digest


class RoundFrozen(Statement):
    """U of sealed-sum.md: whose terms this sum is made of, each with the digest of its ready statement."""

    type: Literal["round-frozen"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    ready: Annotated[dict[SiloId, Digest], Field(min_length=3, max_length=256)]
    base: Digest
    due_at: Timestamp


class UploadComplete(Statement):
    type: Literal["upload-complete"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    freeze: Hex32
    chunks: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=20_000)]


class SumServed(Statement):
    """U3 of sealed-sum.md, still masked, and the sum's bytes. It is said once a round, over all attempts."""

    type: Literal["sum-served"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    survivors: Annotated[tuple[SiloId, ...], Field(min_length=3, max_length=256)]
    chunks: Annotated[tuple[Digest, ...], Field(min_length=1, max_length=20_000)]
    due_at: Timestamp


class SurvivorsSigned(Statement):
    """The silo checked every tag of the sum and takes its U3 for the round's. Its update is never sealed again."""

    type: Literal["survivors-signed"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    sum: Digest


class SharesRevealed(Statement):
    """After a quorum signed U3: for each silo of U one share, sealed to the holders of the study secret.

    It is the share of the self mask for a silo of U3, of the mask key for one that dropped out; never both.
    """

    type: Literal["shares-revealed"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    sum: Digest
    shares: Base64


class SumVerified(Statement):
    """The silo checked every tag and count slot, applied the total and is at the state of ``state_mac``."""

    type: Literal["sum-verified"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    sum: Digest
    state_mac: Hex32


class VerificationFailed(Statement):
    """The round failed at this silo. ``sum`` is the sum-served statement.

    Of the sum itself it is one bit: it was not what U3's silos sealed. Where the masks could not be recovered,
    ``blamed`` are the silos whose shares don't match what they signed.
    """

    type: Literal["verification-failed"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    sum: Digest
    cause: Literal["sum", "masks"]
    blamed: Annotated[tuple[SiloId, ...], Field(max_length=256)]


class RoundClosed(Statement):
    """``agreed`` silos are at one state; ``suspended`` ones were at another, or silent, and are out."""

    type: Literal["round-closed"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    agreed: tuple[SiloId, ...]
    suspended: tuple[SiloId, ...]


class RoundVoided(Statement):
    """Nothing of this served round counts: the study goes on from the state before it, under a new secret.

    ``suspended`` are the silos that enough others blamed (protocol.keying, ``convicted``), and are out.
    """

    type: Literal["round-voided"]
    study: StudyId
    round: RoundIndex
    attempt: Attempt
    reason: Sentence
    suspended: tuple[SiloId, ...]


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


Body = Annotated[
    Invitation
    | Enrolment
    | CharterPublished
    | CharterProposed
    | CharterSigned
    | DatasetRegistered
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
