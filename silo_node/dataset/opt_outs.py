"""Who refused or withdrew, per privacy domain: kept as keyed hashes, honoured in every read.

A list is a private text file: a line that names format and domain, a line a person, and a MAC over all of them, so that
a list that was cut or edited is refused. Whoever has the file alone learns how many there are, and when they came.
"""

import fcntl
import hashlib
import hmac
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from protocol.ids import Timestamp
from silo_node.dataset.keys import DatasetKeys
from silo_node.errors import ConfigRefused, DatasetRefused, OptOutsRefused
from silo_node.private_files import private_folder, read_private, write_private

FORMAT: Final = "consortia-opt-outs/1"
MAX_ID: Final = 400


@dataclass(frozen=True, slots=True, repr=False)
class OptOutList:
    """The people of one domain who opted out. Call it with an id as a source's row has it."""

    key: bytes
    entries: dict[str, Timestamp]

    def __call__(self, person: str) -> bool:
        return bool(self.entries) and self.hashed(person) in self.entries

    def __len__(self) -> int:
        return len(self.entries)

    def __repr__(self) -> str:
        return "<OptOutList redacted>"

    def hashed(self, person: str) -> str:
        return hmac.digest(self.key, person.encode(), "sha256").hex()

    def digest(self) -> str:
        """SHA-256 of who is on it: changes with every person."""
        return hashlib.sha256("\n".join(sorted(self.entries)).encode()).hexdigest()


class ChangeRecord(Protocol):
    """Where changes of a list stand outside of it, so that an older list put back is noticed."""

    def intended(self, before: OptOutList, after: OptOutList) -> None:
        """Before ``after`` takes the place of ``before`` on the disk."""

    def written(self, present: OptOutList) -> None:
        """``present`` is what the disk holds now, changed or not."""


class Unrecorded:
    """For lists that nothing is held against: their older copies pass."""

    def intended(self, before: OptOutList, after: OptOutList) -> None:
        """Nothing is kept."""

    def written(self, present: OptOutList) -> None:
        """Nothing is kept."""


@dataclass(frozen=True, slots=True)
class OptOuts:
    """The lists in ``folder`` (0700), one file (0600) a privacy domain."""

    folder: Path
    keys: DatasetKeys

    def file_of(self, domain: str) -> Path:
        """Where the list of ``domain`` lies; replaced whole whenever somebody is put on it."""
        return self.folder / f"{domain}.list"

    def begin(self, domain: str) -> None:
        """An empty list for a domain that has none."""
        with self.locked():
            if not self.file_of(domain).exists():
                self._write(domain, OptOutList(self._key(domain), {}))

    def load(self, domain: str, expected: bool) -> OptOutList:
        """The list of ``domain``; where a list is ``expected``, one that is gone is refused and not taken for empty."""
        path, key = self.file_of(domain), self._key(domain)
        if not path.exists():
            if expected:
                raise OptOutsRefused(
                    f"the opt-outs of domain {domain} are gone ({path}); restore them from a backup, or withdraw "
                    "everyone again"
                )
            return OptOutList(key, {})
        try:
            return _parse(read_private(path), key, domain)
        except (ConfigRefused, OSError) as error:
            raise OptOutsRefused(f"the opt-outs of domain {domain} cannot be read: {error}") from None

    def add(self, domain: str, people: Sequence[str], at: Timestamp, record: ChangeRecord | None = None) -> int:
        """Puts ``people`` on the list of ``domain``, all or none, durably; returns how many were not on it before."""
        for person in people:
            if not person or len(person) > MAX_ID or person != person.strip() or not person.isprintable():
                raise DatasetRefused(f"an id must have 1 to {MAX_ID} printable characters, with no space around it")
        record = record or Unrecorded()
        with self.locked():
            known = self.load(domain, expected=False)
            fresh = OptOutList(known.key, {known.hashed(person): at for person in people} | known.entries)
            if len(fresh) != len(known):
                record.intended(known, fresh)
                self._write(domain, fresh)
            record.written(fresh)
            return len(fresh) - len(known)

    def _write(self, domain: str, people: OptOutList) -> None:
        text = "".join([f"{FORMAT} {domain}\n", *(f"{one} {at}\n" for one, at in people.entries.items())]).encode()
        write_private(self.file_of(domain), text + f"mac {_mac(people.key, text)}\n".encode())

    def _key(self, domain: str) -> bytes:
        return hmac.digest(self.keys.fingerprint(), b"consortia/opt-outs/v1\0" + domain.encode(), "sha256")

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One writer at a time: of two withdrawals at once neither is lost."""
        try:
            private_folder(self.folder)
        except ConfigRefused as error:
            raise OptOutsRefused(str(error)) from None
        descriptor = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _mac(key: bytes, text: bytes) -> str:
    return hmac.digest(key, b"list\0" + text, "sha256").hex()


def _parse(data: bytes, key: bytes, domain: str) -> OptOutList:
    body, _, last = data.rpartition(b"mac ")
    if not hmac.compare_digest(last.strip(), _mac(key, body).encode()):
        raise OptOutsRefused(f"the opt-outs of domain {domain} were cut or edited; restore them from a backup")
    lines = body.decode().splitlines()
    if lines[:1] != [f"{FORMAT} {domain}"]:
        raise OptOutsRefused(f"the opt-outs of domain {domain} are of another domain or format")
    return OptOutList(key, dict(line.split(" ", 1) for line in lines[1:]))
