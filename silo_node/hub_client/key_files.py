"""The silo's keys on its disk, pair by pair: ``signing`` and ``receiving``, then ``signing-2`` and ``receiving-2``.

With a passphrase the files hold them sealed (``protocol.sealed_key``), under ``signing`` or ``receiving`` as the label.
"""

import base64
import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from protocol.charter import key_words
from protocol.errors import KeyNotOpened
from protocol.sealed_key import is_sealed, open_key, seal_key
from protocol.sealing import envelope
from protocol.sealing.errors import SealingError
from silo_node.errors import ConfigRefused
from silo_node.private_files import private_folder, read_private, write_private

FOLDER = "keys"
_NAMES = ("receiving", "signing")
_SIGNING = re.compile(r"signing(?:-([2-9]|[1-9][0-9]{1,5}))?")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Ed25519 (RFC 8032) to sign, ML-KEM-768/X25519 to receive sealed secrets (``protocol.sealing.envelope``)."""

    signing: Ed25519PrivateKey = field(repr=False)
    receiving: envelope.EnvelopeKeys = field(repr=False)

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


def numbers(folder: Path) -> tuple[int, ...]:
    """The numbers of the pairs in ``folder``/keys, ascending; the first is 1."""
    found = (_SIGNING.fullmatch(path.name) for path in private_folder(folder / FOLDER).iterdir())
    return tuple(sorted(int(one[1] or 1) for one in found if one is not None))


def create_pair(folder: Path, number: int, passphrase: bytes | None) -> KeyPair:
    """A new pair in ``folder``/keys."""
    private = {"receiving": envelope.generate_keys().private}
    private["signing"] = Ed25519PrivateKey.generate().private_bytes_raw()
    # The receiving key first: a crash in between leaves no half pair that would be taken for whole.
    for name, path in _files(folder, number):
        _write(path, name, private[name], passphrase)
    return read_pair(folder, number, passphrase)


def read_pair(folder: Path, number: int, passphrase: bytes | None) -> KeyPair:
    """Raises ``ConfigRefused`` if its keys are absent, damaged, readable by others, or sealed by another passphrase; or
    not sealed at all where there is one, for its owner believes in it."""
    signing, receiving = (_opened(path, name, passphrase) for name, path in reversed([*_files(folder, number)]))
    try:
        return KeyPair(Ed25519PrivateKey.from_private_bytes(signing), envelope.from_private(receiving))
    except (ValueError, SealingError):
        raise ConfigRefused(f"{folder / FOLDER}: the key files are damaged; restore them from the backup") from None


def reseal(folder: Path, old: bytes | None, new: bytes) -> None:
    """Seals the keys in ``folder``/keys under ``new``; ``old`` is the passphrase they had, if any.

    Each file is replaced whole or not at all; one that ``new`` opens already stays, so it may be done again.
    Raises ``ConfigRefused`` if a file opens by neither.
    """
    for number in numbers(folder) or (1,):
        for name, path in _files(folder, number):
            stored = read_private(path)
            if not is_sealed(stored):
                _write(path, name, stored, new)
            elif not _fits(stored, new, name):
                _write(path, name, _opened(path, name, old), new)


def _files(folder: Path, number: int) -> Iterator[tuple[str, Path]]:
    """Name and file of each key of a pair."""
    keys = private_folder(folder / FOLDER)
    return ((name, keys / (name if number == 1 else f"{name}-{number}")) for name in _NAMES)


def _opened(path: Path, name: str, passphrase: bytes | None) -> bytes:
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
        return open_key(stored, passphrase, name)
    except KeyNotOpened as problem:
        raise ConfigRefused(f"{path}: {problem}") from None


def _fits(stored: bytes, passphrase: bytes, label: str) -> bool:
    try:
        open_key(stored, passphrase, label)
    except KeyNotOpened:
        return False
    return True


def _write(path: Path, name: str, private: bytes, passphrase: bytes | None) -> None:
    write_private(path, private if passphrase is None else seal_key(private, passphrase, name, os.urandom))
