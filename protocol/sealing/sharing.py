"""Shares of the mask seeds on their way: a dealer's bundle before the freeze, a holder's reveal after U3 is signed."""

import hmac
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Literal

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from protocol.sealing.envelope import OVERHEAD_BYTES, open_envelope, seal_envelope
from protocol.sealing.errors import MasksUnrecoverable, SharesRefused
from protocol.sealing.masks import MaskOffer, MaskSecrets, RecoveredSeeds, commitment_of, public_of, same
from protocol.sealing.secret import StudySecret
from protocol.sealing.shares import NO_SHARE, SHARE_BYTES, combine, split

Kind = Literal["s", "k"]

PAIR_BYTES: Final = 2 * SHARE_BYTES
SEALED_REVEAL_OVERHEAD: Final = 16
_COMMITMENTS: Final = 64
_ENVELOPE: Final = PAIR_BYTES + OVERHEAD_BYTES
_NONCE: Final = bytes(12)


@dataclass(frozen=True, slots=True, repr=False)
class SharePair:
    """A holder's share of a dealer's self seed, and of its mask-key seed. Only one of them ever leaves the holder."""

    self_share: bytes
    key_share: bytes

    def to_bytes(self) -> bytes:
        return self.self_share + self.key_share

    @classmethod
    def from_bytes(cls, raw: bytes) -> "SharePair":
        if len(raw) != PAIR_BYTES:
            raise SharesRefused(f"shares: {len(raw)} bytes, must be {PAIR_BYTES}")
        return cls(raw[:SHARE_BYTES], raw[SHARE_BYTES:])

    def __repr__(self) -> str:
        return "SharePair(<secret>)"


@dataclass(frozen=True, slots=True)
class Bundle:
    """A dealer's bundle: commitments to every share, and one envelope for each other holder (names sorted)."""

    dealer: str
    holders: tuple[str, ...]
    data: bytes

    @classmethod
    def parse(cls, data: bytes, dealer: str, holders: Sequence[str]) -> "Bundle":
        """Raises SharesRefused unless it has the exact size for these holders."""
        if len(data) != bundle_bytes(len(holders)):
            raise SharesRefused(f"bundle of {dealer}: {len(data)} bytes, must be {bundle_bytes(len(holders))}")
        return cls(dealer, tuple(sorted(holders)), data)

    def matches(self, kind: Kind, holder: str, share: bytes) -> bool:
        """Whether `share` is the one that the dealer committed to for `holder`."""
        place = self.holders.index(holder)
        start = _COMMITMENTS * place + (0 if kind == "s" else 32)
        return same(self.data[start : start + 32], _commitment(kind, place + 1, share))

    def open(self, holder: str, private: bytes, info: bytes) -> SharePair:
        """The holder's shares. Raises EnvelopeRefused, or SharesRefused where they don't match the commitments."""
        others = [name for name in self.holders if name != self.dealer]
        start = _COMMITMENTS * len(self.holders) + _ENVELOPE * others.index(holder)
        pair = SharePair.from_bytes(open_envelope(self.data[start : start + _ENVELOPE], private, info))
        if not (self.matches("s", holder, pair.self_share) and self.matches("k", holder, pair.key_share)):
            raise SharesRefused(f"bundle of {self.dealer}: the shares sealed for {holder} are not those committed to")
        return pair


def bundle_bytes(holders: int) -> int:
    """Exact size of a bundle for `holders` silos, the dealer among them."""
    return _COMMITMENTS * holders + _ENVELOPE * (holders - 1)


def deal(
    secrets: MaskSecrets, dealer: str, holders: Mapping[str, bytes], threshold: int, info: Callable[[str], bytes]
) -> tuple[bytes, SharePair]:
    """The bundle, and the dealer's own shares. holders: name to public receiving key; info: a recipient's context."""
    names = sorted(holders)
    pairs = list(
        map(SharePair, split(secrets.self_seed, len(names), threshold), split(secrets.key_seed, len(names), threshold))
    )
    commitments, envelopes, own = b"", b"", None
    for place, (name, pair) in enumerate(zip(names, pairs, strict=True)):
        commitments += _commitment("s", place + 1, pair.self_share) + _commitment("k", place + 1, pair.key_share)
        if name == dealer:
            own = pair
        else:
            envelopes += seal_envelope(pair.to_bytes(), holders[name], info(name))
    if own is None:
        raise SharesRefused(f"dealer {dealer}: must be one of the holders")
    return commitments + envelopes, own


def seal_reveal(secret: StudySecret, context: bytes, shares: Sequence[bytes]) -> bytes:
    """One share a frozen silo, for the holders of the study secret alone. A context stands for one list of shares."""
    return ChaCha20Poly1305(secret.reveal_key(context)).encrypt(_NONCE, b"".join(shares), context)


def open_reveal(secret: StudySecret, context: bytes, sealed: bytes, count: int) -> list[bytes]:
    """The `count` shares of a reveal. Raises SharesRefused when it doesn't open or has another size."""
    try:
        plain = ChaCha20Poly1305(secret.reveal_key(context)).decrypt(_NONCE, sealed, context)
    except InvalidTag:
        raise SharesRefused("reveal: doesn't open for this study, round and sender") from None
    if len(plain) != count * SHARE_BYTES:
        raise SharesRefused(f"reveal: {len(plain)} bytes, must be {count * SHARE_BYTES}")
    return [plain[at : at + SHARE_BYTES] for at in range(0, len(plain), SHARE_BYTES)]


def recover(
    frozen: Sequence[str],
    survivors: Sequence[str],
    offers: Mapping[str, MaskOffer],
    bundles: Mapping[str, Bundle],
    revealed: Mapping[str, Sequence[bytes]],
    threshold: int,
) -> RecoveredSeeds:
    """The seeds from shares that match their commitments. Raises MasksUnrecoverable, which names who is to blame."""
    self_seeds: dict[str, bytes] = {}
    key_seeds: dict[str, bytes] = {}
    blamed: set[str] = set()
    missing: set[str] = set()
    for place, name in enumerate(sorted(frozen)):
        kind: Kind = "s" if name in survivors else "k"
        good: dict[int, bytes] = {}
        for holder in sorted(revealed):
            share = revealed[holder][place]
            if bundles[name].matches(kind, holder, share):
                good[bundles[name].holders.index(holder) + 1] = share
            elif share != NO_SHARE:
                blamed.add(holder)
        seed = _seed(kind, dict(list(good.items())[:threshold]), offers[name]) if len(good) >= threshold else None
        if seed is None:
            missing.add(name)
            blamed |= {name} if len(good) >= threshold else set()
        else:
            (self_seeds if kind == "s" else key_seeds)[name] = seed
    if missing:
        raise MasksUnrecoverable(tuple(sorted(blamed)))
    return RecoveredSeeds(self_seeds, key_seeds, tuple(sorted(blamed)))


def _seed(kind: Kind, shares: Mapping[int, bytes], offer: MaskOffer) -> bytes | None:
    try:
        seed = combine(shares)
    except SharesRefused:
        return None
    found, expected = (commitment_of(seed), offer.self_commitment) if kind == "s" else (public_of(seed), offer.mask_key)
    return seed if hmac.compare_digest(found, expected) else None


def _commitment(kind: Kind, x: int, share: bytes) -> bytes:
    return sha256(b"consortia/share/v1\x00" + kind.encode() + x.to_bytes(2, "big") + share).digest()
