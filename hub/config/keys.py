"""The hub's two Ed25519 keys: `hub` signs tokens and the hub's statements, `log` signs checkpoints.

Each is 32 raw bytes in a file of mode 0600, in a folder of mode 0700; anything looser is refused.
"""

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from hub.errors import SetupRefused

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


def create(folder: Path) -> HubKeys:
    """Make both keys in `folder`, which must not hold any. Raises `SetupRefused`."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    require_private(folder, 0o700)
    made = {}
    for name in NAMES:
        key = Ed25519PrivateKey.generate()
        try:
            handle = os.open(folder / f"{name}.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            raise SetupRefused(f"{folder / name}.key exists; a hub's keys are made once and never replaced") from None
        with os.fdopen(handle, "wb") as file:
            file.write(key.private_bytes_raw())
            file.flush()
            os.fsync(file.fileno())
        made[name] = key
    return HubKeys(**made)


def load(folder: Path) -> HubKeys:
    """Read both keys. Raises `SetupRefused` when one is missing, damaged or readable by others."""
    if not folder.is_dir():
        raise SetupRefused(f"{folder} is missing; run consortia-hub init first")
    require_private(folder, 0o700)
    return HubKeys(**{name: _read(folder / f"{name}.key") for name in NAMES})


def _read(path: Path) -> Ed25519PrivateKey:
    if not path.is_file():
        raise SetupRefused(f"{path} is missing; put it back from the backup")
    require_private(path, 0o600)
    raw = path.read_bytes()
    if len(raw) != 32:
        raise SetupRefused(f"{path} has {len(raw)} bytes, a key has 32; put it back from the backup")
    return Ed25519PrivateKey.from_private_bytes(raw)


def require_private(path: Path, mode: int) -> None:
    """Raise `SetupRefused` when group or others have any right to `path`; `mode` is what it should have."""
    found = stat.S_IMODE(path.stat().st_mode)
    if found & 0o077:
        raise SetupRefused(f"{path} has mode {found:04o}, which lets others in; run: chmod {mode:o} {path}")
