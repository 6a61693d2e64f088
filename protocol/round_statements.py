"""What is said in a round: who is in its sum, what it costs, the sealed terms and what became of their total."""

from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from protocol.ids import Base64, Digest, DomainName, Hex32, Sentence, SiloId, StudyId, Timestamp
from protocol.sealing.errors import KeyRefused
from protocol.sealing.masks import check_mask_key
from protocol.spend import Event
from protocol.statement import Attempt, RoundIndex, Statement


def _usable_mask_key(key: str) -> str:
    try:
        check_mask_key(bytes.fromhex(key))
    except KeyRefused as refusal:
        raise ValueError(str(refusal)) from None
    return key


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
