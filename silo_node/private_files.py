"""Files that only the silo's own user may read, written whole or not at all."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

from protocol.errors import KeyNotOpened
from protocol.sealed_key import checked_passphrase
from silo_node.errors import ConfigRefused

PART: Final = ".part"
"""How the name of a file ends while it is being written; a process that was killed leaves such files behind."""


@contextmanager
def writing_private(path: Path) -> Iterator[BinaryIO]:
    """A seekable file of this user only (0600): named ``path``, durable and whole, if the block ends well.

    What was at ``path`` stays until then. If the block raises, or the disk is full, nothing of the file is left.
    """
    temporary = path.with_name(path.name + PART)
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(file.fileno(), 0o600)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_folder(path.parent)


def write_private(path: Path, data: bytes) -> None:
    """Durable and whole or not at all, readable by this user only (0600)."""
    with writing_private(path) as file:
        file.write(data)


def sync_folder(folder: Path) -> None:
    """Makes renames in ``folder`` survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def private_folder(path: Path) -> Path:
    """``path`` as a folder of this user only (0700), made if needed. Raises ``ConfigRefused`` if it is wider."""
    path.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.stat().st_mode & 0o077:
        raise ConfigRefused(f"{path} can be entered by other users (mode must be 0700): chmod 700 {path}")
    return path


def read_private(path: Path) -> bytes:
    """The bytes of a private file. Raises ``ConfigRefused`` if others may read it (mode must be 0600 or 0400).

    0440 that belongs to root and root's group passes too: so a service manager hands a credential over, with an
    access list for the service's user.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        raise ConfigRefused(f"{path} does not exist") from None
    if found.st_mode & 0o077 and not _is_handed_over(found):
        raise ConfigRefused(f"{path} can be read by other users (mode must be 0600): chmod 600 {path}")
    return path.read_bytes()


def read_passphrase(path: Path | None) -> bytes | None:
    """The passphrase in a private file; None for none. Raises ``ConfigRefused`` if the file can't be used."""
    if path is None:
        return None
    if not path.is_file():
        raise ConfigRefused(f"{path}: key_passphrase_file names no file")
    try:
        return checked_passphrase(read_private(path))
    except PermissionError:
        raise ConfigRefused(f"{path}: key_passphrase_file can't be read; the silo's user must own it") from None
    except KeyNotOpened as problem:
        raise ConfigRefused(f"{path}: {problem}") from None


def _is_handed_over(found: os.stat_result) -> bool:
    return stat.S_IMODE(found.st_mode) == 0o440 and (found.st_uid, found.st_gid) == (0, 0)
