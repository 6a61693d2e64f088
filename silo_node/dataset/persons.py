"""Who stands in which privacy domain, as keyed hashes: so that nobody's budget is had twice under another name.

A domain's register is a private file: the tags (16 bytes, sorted) of every subject that any dataset of the domain ever
held, and a MAC over them. The key is the silo's own, one for all domains, so that they can be compared here, and
nowhere else: neither register nor comparison ever leaves. Ids are compared as texts; a person under another id in
another extract is not recognised, which is why the owner has to say who they are.
"""

import hashlib
import hmac
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from silo_node.dataset.keys import DatasetKeys
from silo_node.errors import ConfigRefused, DatasetRefused
from silo_node.private_files import private_folder, read_private, write_private

TAG_BYTES: Final = 16
_MAC_BYTES: Final = hashlib.sha256().digest_size
_CONTEXT: Final = b"consortia/persons/v1\0"


@dataclass(frozen=True, slots=True)
class PersonRegisters:
    """The registers in ``folder`` (0700), one file (0600) a privacy domain."""

    folder: Path
    keys: DatasetKeys

    def load(self, domain: str, expected: bool) -> bytes:
        """The domain's tags. Raises ``DatasetRefused`` for a damaged register, or an ``expected`` one that is gone."""
        path = self._file(domain)
        if not path.exists():
            if expected:
                raise DatasetRefused(
                    f"the register of persons of domain {domain} is gone ({path.name}); restore it from a backup"
                )
            return b""
        try:
            data = read_private(path)
        except (ConfigRefused, OSError) as error:
            raise DatasetRefused(f"the register of persons of domain {domain} cannot be read: {error}") from None
        tags, mac = data[:-_MAC_BYTES], data[-_MAC_BYTES:]
        if len(tags) % TAG_BYTES or not hmac.compare_digest(mac, self._mac(domain, tags)):
            raise DatasetRefused(
                f"the register of persons of domain {domain} was cut or edited ({path.name}); restore it from a backup"
            )
        return tags

    def add(self, domain: str, tags: bytes) -> None:
        """Puts persons into the domain's register, durably. Nobody is ever taken out."""
        held = self.load(domain, expected=False)
        merged = unique(held + tags)
        if merged == held:
            return
        private_folder(self.folder)
        write_private(self._file(domain), merged + self._mac(domain, merged))

    def _file(self, domain: str) -> Path:
        return self.folder / f"{domain}.persons"

    def _mac(self, domain: str, tags: bytes) -> bytes:
        return hmac.digest(persons_key(self.keys), b"register\0" + domain.encode() + b"\0" + tags, "sha256")


def persons_key(keys: DatasetKeys) -> bytes:
    """The silo's key of registers (32 bytes), from its key of commitments."""
    return hmac.digest(keys.fingerprint(), _CONTEXT, "sha256")


def unique(tags: bytes) -> bytes:
    """Each tag once, sorted."""
    return np.unique(_array(tags)).tobytes()


def in_both(one: bytes, other: bytes) -> int:
    """How many tags two registers share."""
    return len(np.intersect1d(_array(one), _array(other)))


def _array(tags: bytes) -> NDArray[np.void]:
    return np.frombuffer(tags, dtype=f"V{TAG_BYTES}")
