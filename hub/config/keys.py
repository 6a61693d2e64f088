"""The hub's two Ed25519 keys: `hub` signs tokens and the hub's statements, `log` signs checkpoints.

Each is 32 raw bytes in a file of mode 0600, in a folder of mode 0700; anything looser is refused. With a passphrase
the file holds them sealed (`protocol.sealed_key`), under the key's name as the label.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.config.secret_files import require_private
from hub.errors import SetupRefused
from protocol.errors import KeyNotOpened
from protocol.sealed_key import is_sealed, open_key, seal_key

NAMES = ("hub", "log")


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
    """Make both keys in `folder`, which must not hold any; sealed if there is a passphrase. Raises `SetupRefused`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(folder, 0o700)
    made = {}
    for name in NAMES:
        key = Ed25519PrivateKey.generate()
        try:
            handle = os.open(folder / f"{name}.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise SetupRefused(f"{folder / name}.key exists; a hub's keys are made once and never replaced") from None
        _write(handle, _at_rest(key.private_bytes_raw(), name, passphrase))
        made[name] = key
    return HubKeys(**made)


def load(folder: Path, passphrase: bytes | None = None) -> HubKeys:
    """Read both keys. Raises `SetupRefused` when one is missing, damaged, readable by others, or needs another
    passphrase."""
    _require_folder(folder)
    keys = {name: _parsed(folder, name, _opened(folder, name, passphrase)) for name in NAMES}
    return HubKeys(**keys)


def reseal(folder: Path, old: bytes | None, new: bytes) -> None:
    """Seal both keys under `new`; `old` is the passphrase they had, if any. Raises `SetupRefused`.

    Each file is replaced whole or not at all. One that `new` opens already stays, so it may be done again.
    """
    _require_folder(folder)
    for name in NAMES:
        stored = _read(folder / f"{name}.key")
        if is_sealed(stored) and _fits(stored, name, new):
            continue
        private = _opened(folder, name, old if is_sealed(stored) else None)
        _parsed(folder, name, private)
        temporary = folder / f"{name}.key.part"
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        _write(handle, _at_rest(private, name, new))
        temporary.replace(folder / f"{name}.key")


def _opened(folder: Path, name: str, passphrase: bytes | None) -> bytes:
    """The private bytes of one key. A passphrase that no file needs is refused: its owner believes in it."""
    path = folder / f"{name}.key"
    stored = _read(path)
    if not is_sealed(stored):
        if passphrase is not None:
            raise SetupRefused(
                f"{path} has no passphrase, and key_passphrase_file is set; run: "
                f"consortia-hub seal-keys --folder {folder.parent}"
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


def _parsed(folder: Path, name: str, raw: bytes) -> Ed25519PrivateKey:
    if len(raw) != 32:
        path = folder / f"{name}.key"
        raise SetupRefused(f"{path} has {len(raw)} bytes, a key has 32; put it back from the backup")
    return Ed25519PrivateKey.from_private_bytes(raw)


def _require_folder(folder: Path) -> None:
    if not folder.is_dir():
        raise SetupRefused(f"{folder} is missing; run consortia-hub init first")
    require_private(folder, 0o700)


def _read(path: Path) -> bytes:
    if not path.is_file():
        raise SetupRefused(f"{path} is missing; put it back from the backup")
    require_private(path, 0o600)
    return path.read_bytes()


def _write(handle: int, content: bytes) -> None:
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
