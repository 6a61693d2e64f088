"""What a silo says in a round, each thing once: the statements' bodies and the names they are kept under."""

from typing import Literal

from protocol.canonical import digest
from protocol.round_record import RoundRecord
from protocol.round_statements import (
    RoundReady,
    SharesRevealed,
    SpendReserved,
    SpendSettled,
    SumVerified,
    SurvivorsSigned,
    UploadComplete,
    VerificationFailed,
)
from protocol.rounds import round_events
from protocol.spend import Event
from silo_node.agent.silo import Silo
from silo_node.agent.study import Study
from silo_node.agent.voice import Opening, Saying
from silo_node.sealing.masking import Dealt


def _name(study: Study, current: RoundRecord, what: str) -> str:
    return f"{study.id}:{current.index}:{current.attempt}:{what}"


def reserved(silo: Silo, study: Study, index: int, domain: str) -> Saying:
    def build(opening: Opening) -> SpendReserved:
        return SpendReserved(
            type="spend-reserved",
            study=study.id,
            round=index,
            domain=domain,
            events=round_events(study.record.contract, silo.name, index),
            ledger_head=silo.ledger.head().digest,
            **opening,
        )

    return Saying(f"{study.id}:{index}:reserved", build)


def settled(silo: Silo, study: Study, index: int, domain: str, ran: tuple[Event, ...]) -> Saying:
    def build(opening: Opening) -> SpendSettled:
        return SpendSettled(
            type="spend-settled",
            study=study.id,
            round=index,
            domain=domain,
            events=ran,
            ledger_head=silo.ledger.head().digest,
            **opening,
        )

    return Saying(f"{study.id}:{index}:settled", build)


def ready(study: Study, current: RoundRecord, dealt: Dealt) -> Saying:
    def build(opening: Opening) -> RoundReady:
        return RoundReady(
            type="round-ready",
            study=study.id,
            round=current.index,
            attempt=current.attempt,
            mask_key=dealt.secrets.offer.mask_key.hex(),
            self_commitment=dealt.secrets.offer.self_commitment.hex(),
            shares=digest(dealt.bundle),
            **opening,
        )

    return Saying(_name(study, current, "ready"), build)


def uploaded(study: Study, current: RoundRecord, freeze: bytes, chunks: tuple[str, ...]) -> Saying:
    def build(opening: Opening) -> UploadComplete:
        return UploadComplete(
            type="upload-complete",
            study=study.id,
            round=current.index,
            attempt=current.attempt,
            freeze=freeze.hex(),
            chunks=chunks,
            **opening,
        )

    return Saying(_name(study, current, "uploaded"), build)


def signed_name(study: str, index: int) -> str:
    """One name a round, whatever the attempt: U3 is signed once, and the same words go out ever after."""
    return f"{study}:{index}:signed"


def signed(study: Study, current: RoundRecord) -> Saying:
    def build(opening: Opening) -> SurvivorsSigned:
        return SurvivorsSigned(
            type="survivors-signed",
            study=study.id,
            round=current.index,
            attempt=current.attempt,
            sum=current.served_digest,
            **opening,
        )

    return Saying(signed_name(study.id, current.index), build)


def revealed(study: Study, current: RoundRecord, shares: str) -> Saying:
    def build(opening: Opening) -> SharesRevealed:
        return SharesRevealed(
            type="shares-revealed",
            study=study.id,
            round=current.index,
            attempt=current.attempt,
            sum=current.served_digest,
            shares=shares,
            **opening,
        )

    return Saying(f"{study.id}:{current.index}:revealed", build)


def verified(study: Study, current: RoundRecord, mac: str) -> Saying:
    def build(opening: Opening) -> SumVerified:
        return SumVerified(
            type="sum-verified",
            study=study.id,
            round=current.index,
            attempt=current.attempt,
            sum=current.served_digest,
            state_mac=mac,
            **opening,
        )

    return Saying(_name(study, current, "verified"), build)


def failed(study: Study, current: RoundRecord, cause: Literal["sum", "masks"], blamed: tuple[str, ...] = ()) -> Saying:
    def build(opening: Opening) -> VerificationFailed:
        return VerificationFailed(
            type="verification-failed",
            study=study.id,
            round=current.index,
            attempt=current.attempt,
            sum=current.served_digest,
            cause=cause,
            blamed=blamed,
            **opening,
        )

    return Saying(_name(study, current, "failed"), build)
