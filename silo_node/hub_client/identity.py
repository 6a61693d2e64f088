"""The silo's identity: the key it signs with and the key it receives with. They never leave the node.

With a passphrase their files hold them sealed (``protocol.sealed_key``), each under its name as the label.
"""

import base64
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.charter import key_words
from protocol.errors import KeyNotOpened
from protocol.ids import silo_party
from protocol.sealed_key import is_sealed, open_key, seal_key
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
    def create(cls, silo: str, folder: Path, passphrase: bytes | None = None) -> Self:
        """New keys in ``folder``/keys. Keys that are there already are kept: a repeated join is the same silo."""
        keys = private_folder(folder / FOLDER)
        if not (keys / "signing").exists():
            # The receiving key first: a crash in between leaves no half identity that would be taken for whole.
            _write(keys / "receiving", envelope.generate_keys().private, passphrase)
            _write(keys / "signing", Ed25519PrivateKey.generate().private_bytes_raw(), passphrase)
        return cls.load(silo, folder, passphrase)

    @classmethod
    def load(cls, silo: str, folder: Path, passphrase: bytes | None = None) -> Self:
        """The keys in ``folder``/keys. Raises ``ConfigRefused`` if they are absent, damaged, readable by others, or
        sealed by another passphrase; or not sealed at all where there is one, for its owner believes in it."""
        keys = private_folder(folder / FOLDER)
        signing, receiving = (_opened(keys / name, passphrase) for name in ("signing", "receiving"))
        try:
            return cls(silo, Ed25519PrivateKey.from_private_bytes(signing), envelope.from_private(receiving))
        except (ValueError, SealingError):
            raise ConfigRefused(f"{keys}: the key files are damaged; restore them from the backup") from None


def reseal(folder: Path, old: bytes | None, new: bytes) -> None:
    """Seals the keys in ``folder``/keys under ``new``; ``old`` is the passphrase they had, if any.

    Each file is replaced whole or not at all; one that ``new`` opens already stays, so it may be done again.
    Raises ``ConfigRefused`` if a file opens by neither.
    """
    keys = private_folder(folder / FOLDER)
    for name in ("receiving", "signing"):
        stored = read_private(keys / name)
        if not is_sealed(stored):
            _write(keys / name, stored, new)
        elif not _fits(stored, new, name):
            _write(keys / name, _opened(keys / name, old), new)


def _opened(path: Path, passphrase: bytes | None) -> bytes:
    stored = read_private(path)
    if not is_sealed(stored):
        if passphrase is not None:
            raise ConfigRefused(
                f"{path} has no passphrase, and key_passphrase_file is set; run: consortia-silo seal-keys"
            )
        return stored
    if passphrase is None:
        raise ConfigRefused(f"{path} is sealed by a passphrase; name its file in key_passphrase_file")
    try:
        return open_key(stored, passphrase, path.name)
    except KeyNotOpened as problem:
        raise ConfigRefused(f"{path}: {problem}") from None


def _fits(stored: bytes, passphrase: bytes, label: str) -> bool:
    try:
        open_key(stored, passphrase, label)
    except KeyNotOpened:
        return False
    return True


def _write(path: Path, private: bytes, passphrase: bytes | None) -> None:
    write_private(path, private if passphrase is None else seal_key(private, passphrase, path.name, os.urandom))
