"""A silo's configuration: one TOML file in its folder, beside keys, ledger and journal. It holds no secret."""

import json
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, ValidationError

from protocol.ids import Digest, SiloId, Strict
from protocol.study import explain
from silo_node.errors import ConfigRefused
from silo_node.private_files import write_private

FILE = "silo.toml"
PASSPHRASE_VARIABLE: Final = "CONSORTIA_SILO_KEY_PASSPHRASE_FILE"  # noqa: S105 - a name
"""Names the passphrase's file where a service manager or a container hands it over; it wins over the setting."""


class SiloConfig(Strict):
    """What ``consortia-silo join`` writes and an administrator may edit."""

    silo: SiloId
    hub_url: str
    charter: Digest
    key_passphrase_file: str | None = Field(default=None, min_length=1)
    """A private file with the passphrase that the silo's keys are sealed by; none: they lie as they are."""
    poll_wait_s: int = Field(default=20, ge=1, le=30)
    request_timeout_s: int = Field(default=60, ge=5, le=3600)
    sandbox: Literal["required", "none-accepted"] = "required"
    """Whether rows may be read by a process in no sandbox, where the machine offers none."""
    sandbox_memory_mib: int = Field(default=16_384, ge=2048, le=4 * 2**20)
    """What the process that reads rows may have in memory."""
    sandbox_disk_mib: int = Field(default=65_536, ge=256, le=16 * 2**20)
    """What each of its files on the disk may have: for rows that memory doesn't hold."""
    training_limit_s: int = Field(default=3600, ge=1, le=7 * 86_400)

    @property
    def passphrase_file(self) -> Path | None:
        return Path(self.key_passphrase_file) if self.key_passphrase_file else None


def load(folder: Path, environment: Mapping[str, str] = os.environ) -> SiloConfig:
    """The configuration in ``folder``. Raises ``ConfigRefused`` with the field that is wrong."""
    path = folder / FILE
    try:
        value = tomllib.loads(path.read_text())
    except FileNotFoundError:
        raise ConfigRefused(f"{path} does not exist; join a consortium first: consortia-silo join") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigRefused(f"{path} is not TOML: {error}") from None
    if environment.get(PASSPHRASE_VARIABLE):
        value["key_passphrase_file"] = environment[PASSPHRASE_VARIABLE]
    try:
        return SiloConfig.model_validate(value)
    except ValidationError as error:
        raise ConfigRefused(f"{path}: {explain(error)}") from None


def save(config: SiloConfig, folder: Path) -> None:
    """Writes ``config``; values are names, numbers and an address, which TOML and JSON spell alike."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in config.model_dump(exclude_none=True).items()]
    write_private(folder / FILE, ("\n".join(lines) + "\n").encode())
