"""The keys that split rows and commit to datasets. They never leave the silo; losing one is worse than it looks."""

import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from silo_node.dataset.create_once import create_private
from silo_node.errors import ConfigRefused, DatasetRefused
from silo_node.private_files import private_folder, read_private

KEY_BYTES: Final = 32


@dataclass(frozen=True, slots=True)
class DatasetKeys:
    """Key files (0600) in one folder (0700): one for commitments, one a privacy domain for splitting."""

    folder: Path

    def make(self, domain: str) -> None:
        """Make the keys that are not there yet; those that are there stay as they are."""
        try:
            private_folder(self.folder)
            for path in (self._fingerprint, self._split(domain)):
                if not path.exists():
                    create_private(path, secrets.token_bytes(KEY_BYTES))
        except ConfigRefused as error:
            raise DatasetRefused(str(error)) from None
        except OSError as error:
            raise DatasetRefused(f"the dataset keys cannot be made in {self.folder}: {error.strerror}") from None

    def fingerprint(self) -> bytes:
        """The 32-byte key of commitments. Raises ``DatasetRefused``."""
        return _read(self._fingerprint)

    def split(self, domain: str) -> bytes:
        """The 32-byte key that splits ``domain``. Raises ``DatasetRefused``."""
        return _read(self._split(domain))

    @property
    def for_commitments(self) -> Path:
        """The file with the key of commitments: what checking a source needs."""
        return self._fingerprint

    def of_domain(self, domain: str) -> tuple[Path, ...]:
        """The files with the keys that reading datasets of ``domain`` needs."""
        return self._fingerprint, self._split(domain)

    @property
    def _fingerprint(self) -> Path:
        return self.folder / "fingerprint.key"

    def _split(self, domain: str) -> Path:
        return self.folder / f"split-{domain}.key"


def _read(path: Path) -> bytes:
    try:
        key = read_private(path)
    except (ConfigRefused, OSError) as error:
        # A new key would deal the rows anew and put held-out ones among the training rows.
        raise DatasetRefused(f"dataset key {path.name}: {error}; restore it from a backup, no other will do") from None
    if len(key) != KEY_BYTES:
        raise DatasetRefused(f"dataset key {path.name} has {len(key)} bytes, not {KEY_BYTES}; restore it from a backup")
    return key
