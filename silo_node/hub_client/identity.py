"""The silo's identity: the key it signs with and the key it receives with. They never leave the node."""

import base64
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.charter import key_words
from protocol.ids import silo_party
from protocol.sealing import envelope
from protocol.sealing.errors import SealingError
from silo_node.errors import ConfigRefused
from silo_node.private_files import private_folder, read_private, write_private

FOLDER = "keys"


@dataclass(frozen=True, slots=True)
class Identity:
    """Ed25519 (RFC 8032) to sign, ML-KEM-768/X25519 to receive sealed secrets (``protocol.sealing.envelope``)."""

    silo: str
    signing: Ed25519PrivateKey = field(repr=False)
    receiving: envelope.EnvelopeKeys = field(repr=False)

    @property
    def party(self) -> str:
        return silo_party(self.silo)

    @property
    def signing_public(self) -> str:
        return self.signing.public_key().public_bytes_raw().hex()

    @property
    def receiving_public(self) -> str:
        return base64.b64encode(self.receiving.public).decode()

    @property
    def words(self) -> str:
        """Six words that name both public keys, to be compared by telephone."""
        return key_words(self.signing_public, self.receiving_public)

    @classmethod
    def create(cls, silo: str, folder: Path) -> Self:
        """New keys in ``folder``/keys. Keys that are there already are kept: a repeated join is the same silo."""
        keys = private_folder(folder / FOLDER)
        if not (keys / "signing").exists():
            # The receiving key first: a crash in between leaves no half identity that would be taken for whole.
            write_private(keys / "receiving", envelope.generate_keys().private)
            write_private(keys / "signing", Ed25519PrivateKey.generate().private_bytes_raw())
        return cls.load(silo, folder)

    @classmethod
    def load(cls, silo: str, folder: Path) -> Self:
        """The keys in ``folder``/keys. Raises ``ConfigRefused`` if they are absent, damaged or readable by others."""
        keys = private_folder(folder / FOLDER)
        signing, receiving = read_private(keys / "signing"), read_private(keys / "receiving")
        try:
            return cls(silo, Ed25519PrivateKey.from_private_bytes(signing), envelope.from_private(receiving))
        except (ValueError, SealingError):
            raise ConfigRefused(f"{keys}: the key files are damaged; restore them from the backup") from None
