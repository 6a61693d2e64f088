"""A silo's masks in a round: dealt before the freeze, revealed once the survivors are signed, taken off the total."""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from protocol import canonical
from protocol.charter import Charter
from protocol.round_record import RoundRecord
from protocol.sealing.errors import SealingError
from protocol.sealing.masks import MaskOffer, MaskSecrets, MaskStream, masks_of_sum
from protocol.sealing.secret import StudySecret
from protocol.sealing.shares import NO_SHARE
from protocol.sealing.sharing import (
    PAIR_BYTES,
    Bundle,
    SharePair,
    deal,
    open_reveal,
    recover,
    seal_reveal,
)

MASK_BYTES = 64


@dataclass(frozen=True, slots=True, repr=False)
class Dealt:
    """What a silo keeps of one attempt: its mask seeds, its own shares of them, and the bundle for the others."""

    secrets: MaskSecrets
    own: SharePair
    bundle: bytes

    def to_bytes(self) -> bytes:
        return self.secrets.to_bytes() + self.own.to_bytes() + self.bundle

    @classmethod
    def from_bytes(cls, data: bytes) -> "Dealt":
        end = MASK_BYTES + PAIR_BYTES
        return cls(MaskSecrets.from_bytes(data[:MASK_BYTES]), SharePair.from_bytes(data[MASK_BYTES:end]), data[end:])

    def __repr__(self) -> str:
        return "Dealt(<secret>)"


def share_context(study: str, index: int, attempt: int, sender: str, recipient: str) -> bytes:
    """HPKE's ``info``: an envelope of shares opens for this attempt, sender and recipient only."""
    return canonical.encode(
        {
            "context": "consortia/shares/v1",
            "study": study,
            "round": index,
            "attempt": attempt,
            "sender": sender,
            "recipient": recipient,
        }
    )


def reveal_context(study: str, index: int, served: str, sender: str) -> bytes:
    """What a reveal is bound to: the sum-served statement whose survivors were signed, and who reveals."""
    return canonical.encode(
        {"context": "consortia/reveal/v1", "study": study, "round": index, "sum": served, "sender": sender}
    )


def receiving_keys(charter: Charter, holders: tuple[str, ...]) -> dict[str, bytes]:
    """The charter's ML-KEM-768/X25519 key of each holder of the study secret."""
    return {name: base64.b64decode(charter.member(name).receiving_key, validate=True) for name in holders}


def deal_masks(study: str, index: int, attempt: int, dealer: str, holders: Mapping[str, bytes], quorum: int) -> Dealt:
    """Fresh masks for one attempt, shared among all ``holders`` (name to receiving key) with threshold ``quorum``."""
    secrets = MaskSecrets.generate()
    bundle, own = deal(
        secrets, dealer, holders, quorum, lambda recipient: share_context(study, index, attempt, dealer, recipient)
    )
    return Dealt(secrets, own, bundle)


def offers_of(one: RoundRecord) -> dict[str, MaskOffer]:
    """The frozen silos' mask keys and commitments, as they signed them."""
    return {
        name: MaskOffer(bytes.fromhex(one.offers[name].mask_key), bytes.fromhex(one.offers[name].self_commitment))
        for name in one.frozen_ready
    }


def choose_shares(one: RoundRecord, pairs: Mapping[str, SharePair | None]) -> list[bytes]:
    """One share for each frozen silo, by name: of the self mask where it survived, else of the mask key; never both."""
    survivors = set(one.total_served.survivors)
    chosen = []
    for name in sorted(one.frozen_ready):
        pair = pairs[name]
        share = None if pair is None else pair.self_share if name in survivors else pair.key_share
        chosen.append(NO_SHARE if share is None else share)
    return chosen


def seal_shares(secret: StudySecret, study: str, one: RoundRecord, sender: str, shares: list[bytes]) -> str:
    """The shares for the holders of ``secret``, and nobody else; base64."""
    return base64.b64encode(
        seal_reveal(secret, reveal_context(study, one.index, one.served_digest, sender), shares)
    ).decode()


def masks_left(
    secret: StudySecret, study: str, one: RoundRecord, freeze: bytes, bundles: Mapping[str, Bundle], quorum: int
) -> MaskStream:
    """What the served total still carries of masks, from the revealed shares. Raises ``MasksUnrecoverable``."""
    offers, frozen = offers_of(one), tuple(sorted(one.frozen_ready))
    survivors = tuple(one.total_served.survivors)
    revealed = {}
    for name, word in one.revealed.items():
        context = reveal_context(study, one.index, one.served_digest, name)
        try:
            sealed = base64.b64decode(word.shares, validate=True)
            revealed[name] = open_reveal(secret, context, sealed, len(frozen))
        except (SealingError, binascii.Error):
            revealed[name] = [NO_SHARE] * len(frozen)
    seeds = recover(frozen, survivors, offers, bundles, revealed, quorum)
    return masks_of_sum(freeze, survivors, offers, seeds)
