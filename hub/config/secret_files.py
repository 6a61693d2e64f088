"""Files that hold a secret. Settings name them, and nobody but the hub may be able to read them.

Private is a file without any right for group and others (0600, 0400). One more is let through: 0440 that belongs to
root and to root's group, which is how service managers hand a credential over, with an access list for one user.
Docker mounts the files of `secrets:` with the owner and mode that they have on the host, so they need the same.
"""

import stat
from pathlib import Path

from hub.errors import SetupRefused
from protocol.errors import KeyNotOpened
from protocol.sealed_key import checked_passphrase

MAX_SECRET_BYTES = 64 * 1024
MAX_PASSWORD_BYTES = 1024


def require_private(path: Path, mode: int) -> None:
    """Raise `SetupRefused` when group or others have any right to `path`; `mode` is what it should have."""
    found = path.stat()
    if found.st_mode & 0o077 and not _is_handed_over(found.st_mode, found.st_uid, found.st_gid):
        rights = stat.S_IMODE(found.st_mode)
        raise SetupRefused(f"{path} has mode {rights:04o}, which lets others in; run: chmod {mode:o} {path}")


def read_secret(path: Path, setting: str) -> bytes:
    """The content of the private file that `setting` names. Raises `SetupRefused`."""
    if not path.is_file():
        raise SetupRefused(f"{path}: {setting} names no file")
    require_private(path, 0o400)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
    except OSError as error:
        raise SetupRefused(f"{path}: {setting} can't be read: {error.strerror}; the hub's user must own it") from None
    if len(content) > MAX_SECRET_BYTES:
        raise SetupRefused(f"{path}: {setting} names a file of more than {MAX_SECRET_BYTES} bytes")
    return content


def read_passphrase(path: Path | None) -> bytes | None:
    """The passphrase of the hub's keys; None where the settings name no file. Raises `SetupRefused`."""
    if path is None:
        return None
    try:
        return checked_passphrase(read_secret(path, "key_passphrase_file"))
    except KeyNotOpened as problem:
        raise SetupRefused(f"{path}: {problem}") from None


def read_password(path: Path | None) -> str | None:
    """The database's password: the file's only line; None where the settings name no file. Raises `SetupRefused`."""
    if path is None:
        return None
    try:
        password = read_secret(path, "database_password_file").decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise SetupRefused(f"{path}: database_password_file must hold a password as text (UTF-8)") from None
    if not 0 < len(password) <= MAX_PASSWORD_BYTES or not password.isprintable():
        raise SetupRefused(
            f"{path}: database_password_file must hold one line of 1 to {MAX_PASSWORD_BYTES} characters that print"
        )
    return password


def _is_handed_over(mode: int, owner: int, group: int) -> bool:
    return stat.S_ISREG(mode) and stat.S_IMODE(mode) == 0o440 and (owner, group) == (0, 0)
