"""The hub's pairs of Ed25519 keys: `hub` signs tokens and the hub's statements, `log` signs checkpoints.

The first pair is in `hub.key` and `log.key`, the next in `hub-2.key` and `log-2.key`, and so on; which pair serves,
the charter says. Each key is 32 raw bytes in a file of mode 0600, in a folder of mode 0700; anything looser is refused.
With a passphrase the file holds them sealed (`protocol.sealed_key`), under the key's name as the label: `hub` or `log`.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.config.secret_files import require_private
from hub.errors import SetupRefused
from protocol.errors import KeyNotOpened
from protocol.sealed_key import is_sealed, open_key, seal_key

NAMES = ("hub", "log")
_FILE = re.compile(r"(?:hub|log)(?:-([2-9]|[1-9][0-9]{1,5}))?\.key")


@dataclass(frozen=True, slots=True)
class HubKeys:
    """Private keys; their repr shows nothing."""

    hub: Ed25519PrivateKey = field(repr=False)
    log: Ed25519PrivateKey = field(repr=False)

    @property
    def hub_public(self) -> str:
        return self.hub.public_key().public_bytes_raw().hex()

    @property
    def log_public(self) -> str:
        return self.log.public_key().public_bytes_raw().hex()


def create(folder: Path, passphrase: bytes | None = None) -> HubKeys:
    """Make the first pair in `folder`, which must not hold any; sealed if there is a passphrase. Raises
    `SetupRefused`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(folder, 0o700)
    found = numbers(folder)
    if found:
        raise SetupRefused(f"{folder} holds a hub's keys already; new ones beside them: consortia-hub rotate")
    return _make(folder, 1, passphrase)


def add(folder: Path, passphrase: bytes | None = None) -> HubKeys:
    """Make the next pair beside those that `folder` holds. Raises `SetupRefused`, also where those can't be read.

    A pair that was half made when the machine stopped is in the way, and named. Without room nothing is made.
    """
    present = numbers(folder)
    for number in present:
        load(folder, passphrase, number)
    return _make(folder, present[-1] + 1, passphrase)


def numbers(folder: Path) -> tuple[int, ...]:
    """The numbers of the pairs of which a file is there, ascending; the first is 1."""
    names = (_FILE.fullmatch(path.name) for path in folder.iterdir()) if folder.is_dir() else ()
    return tuple(sorted({int(found[1] or 1) for found in names if found is not None}))


def load(folder: Path, passphrase: bytes | None = None, number: int = 1) -> HubKeys:
    """Read one pair. Raises `SetupRefused` when a key is missing, damaged, readable by others, or needs another
    passphrase."""
    _require_folder(folder)
    keys = {name: _parsed(path, _opened(path, name, passphrase)) for name, path in _files(folder, number)}
    return HubKeys(**keys)


def reseal(folder: Path, old: bytes | None, new: bytes) -> None:
    """Seal all keys under `new`; `old` is the passphrase they had, if any. Raises `SetupRefused`.

    Each file is replaced whole or not at all. One that `new` opens already stays, so it may be done again.
    """
    _require_folder(folder)
    for number in numbers(folder) or (1,):
        for name, path in _files(folder, number):
            stored = _read(path)
            if is_sealed(stored) and _fits(stored, name, new):
                continue
            private = _opened(path, name, old if is_sealed(stored) else None)
            _parsed(path, private)
            _replace({path: _at_rest(private, name, new)})


def _make(folder: Path, number: int, passphrase: bytes | None) -> HubKeys:
    made = {name: Ed25519PrivateKey.generate() for name in NAMES}
    kept = {path: _at_rest(made[name].private_bytes_raw(), name, passphrase) for name, path in _files(folder, number)}
    try:
        _replace(kept)
    except OSError as error:
        raise SetupRefused(f"{folder}: the keys can't be written: {error.strerror}; none were made") from None
    return HubKeys(**made)


def _files(folder: Path, number: int) -> tuple[tuple[str, Path], ...]:
    """Name and file of each key of a pair."""
    end = "" if number == 1 else f"-{number}"
    return tuple((name, folder / f"{name}{end}.key") for name in NAMES)


def _opened(path: Path, name: str, passphrase: bytes | None) -> bytes:
    """The private bytes of one key. A passphrase that no file needs is refused: its owner believes in it."""
    stored = _read(path)
    if not is_sealed(stored):
        if passphrase is not None:
            raise SetupRefused(
                f"{path} has no passphrase, and key_passphrase_file is set; run: "
                f"consortia-hub seal-keys --folder {path.parent.parent}"
            )
        return stored
    if passphrase is None:
        raise SetupRefused(f"{path} is sealed by a passphrase; name its file in key_passphrase_file")
    try:
        return open_key(stored, passphrase, name)
    except KeyNotOpened as problem:
        raise SetupRefused(f"{path}: {problem}") from None


def _fits(stored: bytes, name: str, passphrase: bytes) -> bool:
    try:
        open_key(stored, passphrase, name)
    except KeyNotOpened:
        return False
    return True


def _at_rest(private: bytes, name: str, passphrase: bytes | None) -> bytes:
    return private if passphrase is None else seal_key(private, passphrase, name, os.urandom)


def _parsed(path: Path, raw: bytes) -> Ed25519PrivateKey:
    if len(raw) != 32:
        raise SetupRefused(f"{path} has {len(raw)} bytes, a key has 32; put it back from the backup")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise SetupRefused(f"{folder} is missing; run consortia-hub init first")
    require_private(folder, 0o700)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise SetupRefused(
            f"{path} is missing; put it back from the backup. A pair that retired goes whole; so does one whose "
            "consortia-hub rotate was cut short before it printed the card"
        )
    require_private(path, 0o600)
    return path.read_bytes()


def _replace(contents: dict[Path, bytes]) -> None:
    """Each file whole or not at all, as a hub may read the folder meanwhile; durable on return.

    None gets its name before all are on the disk: without room there is no half a pair.
    """
    parts = {path: path.with_name(f"{path.name}.part") for path in contents}
    try:
        for path, content in contents.items():
            _write(parts[path], content)
        for path, part in parts.items():
            part.replace(path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
    for folder in {path.parent for path in contents}:
        _sync(folder)


def _write(path: Path, content: bytes) -> None:
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    """Makes the names in ``folder`` survive a power cut."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
