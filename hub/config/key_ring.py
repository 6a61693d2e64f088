"""All pairs of keys that the hub's folder holds; one that is made while the hub runs is found when it is needed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.config import keys
from hub.config.keys import HubKeys
from hub.errors import SetupRefused


@dataclass(slots=True)
class KeyRing:
    """`passphrase` reads the file of the passphrase again whenever keys are read: it isn't kept."""

    folder: Path
    passphrase: Callable[[], bytes | None] = field(repr=False)
    _pairs: dict[int, HubKeys] = field(default_factory=dict, repr=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @classmethod
    def opened(cls, folder: Path, passphrase: Callable[[], bytes | None] = lambda: None) -> "KeyRing":
        """The ring, with all pairs read. Raises `SetupRefused` if there is none, or one that can't be used."""
        ring = cls(folder, passphrase)
        if not ring._read_new():
            keys.load(folder, passphrase())  # says what is missing
        return ring

    @property
    def pairs(self) -> tuple[HubKeys, ...]:
        """Those read so far, the newest first."""
        return tuple(self._pairs[number] for number in sorted(self._pairs, reverse=True))

    def hub_keys(self, needed: str = "") -> tuple[Ed25519PrivateKey, ...]:
        """All that this hub signs tokens with, the newest first. The folder is read again if the public key (hex)
        `needed` isn't among them: another replica may have taken it into use.
        """
        if needed and all(pair.hub_public != needed for pair in self.pairs):
            self._read_new()
        return tuple(pair.hub for pair in self.pairs)

    def find(self, hub_key: str, log_key: str) -> HubKeys | None:
        """The pair with these public keys (hex), also one that came into the folder since; None for a stranger's.

        Raises `SetupRefused` if a new one can't be read.
        """
        return self._held(hub_key, log_key) or (self._held(hub_key, log_key) if self._read_new() else None)

    def _held(self, hub_key: str, log_key: str) -> HubKeys | None:
        publics = (hub_key, log_key)
        return next((pair for pair in self.pairs if (pair.hub_public, pair.log_public) == publics), None)

    def _read_new(self) -> bool:
        """Read the pairs that weren't read yet; whether there were any. Opening a sealed key takes half a second."""
        with self._lock:
            new = [number for number in keys.numbers(self.folder) if number not in self._pairs]
            passphrase = self.passphrase() if new else None
            found = {number: keys.load(self.folder, passphrase, number) for number in new}
            self._pairs = {**self._pairs, **found}
        return bool(new)


def new_pair(folder: Path, passphrase: bytes | None) -> HubKeys:
    """The next pair beside those of a folder that holds some. Raises `SetupRefused`."""
    if not keys.numbers(folder):
        raise SetupRefused(f"{folder} holds no keys; put them back from the backup, or run consortia-hub init")
    return keys.add(folder, passphrase)
