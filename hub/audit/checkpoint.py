"""Signing the log's head. A signer never signs what doesn't extend its last checkpoint (C2SP tlog-checkpoint)."""

from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from hub.audit.merkle import LogDamaged, MerkleTree
from protocol.signed_note import NoteRefused
from protocol.translog import Checkpoint, VerifierKey, sign_checkpoint, verify_checkpoint

__all__ = ["CheckpointSigner"]


@dataclass(frozen=True, slots=True)
class CheckpointSigner:
    """The log's name and key; the key is named after the log. `own` are further keys of this hub, whose last
    checkpoint this key goes on from: the log's key may have been changed since."""

    origin: str
    key: Ed25519PrivateKey = field(repr=False)
    own: tuple[Ed25519PublicKey, ...] = field(default=(), repr=False)

    @property
    def verifier(self) -> VerifierKey:
        """What silos and officers pin."""
        return VerifierKey(self.origin, self.key.public_key())

    def sign(self, tree: MerkleTree, last_note: str | None, charter: str | None, now: datetime) -> str:
        """Return the signed checkpoint of `tree`.

        `last_note` is the last checkpoint signed (None for the first ever): if the store was put back to an
        older copy, or a node was altered, signing would prove the hub a liar, so `LogDamaged` is raised instead.
        `charter` is the hex digest of the charter in force; `now` has a zone. Without new leaves it signs again:
        a recent time shows that nothing is withheld.
        """
        head = tree.head()
        if last_note is not None:
            self._require_growth(self.read(last_note), tree)
        return sign_checkpoint(Checkpoint.stamped(self.origin, head, charter, now), self.origin, self.key)

    def read(self, note: str) -> Checkpoint:
        """The checkpoint in a note that a key of this hub signed; raises `NoteRefused`."""
        for key in self.own:
            with suppress(NoteRefused):
                return verify_checkpoint(note, self.origin, key)
        return verify_checkpoint(note, self.origin, self.verifier.public_key)

    @staticmethod
    def _require_growth(last: Checkpoint, tree: MerkleTree) -> None:
        if tree.size < last.size:
            raise LogDamaged(
                f"{last.size} leaves were signed for, the store has {tree.size}: restore the latest backup"
            )
        if MerkleTree(tree.store, last.size).head() != last.head:
            raise LogDamaged(f"the first {last.size} leaves no longer give the root that was signed for them")
