"""A person's key file under a passphrase: what it looks like, and where the passphrase comes from.

The passphrase is read from the private file that ``CONSORTIA_KEY_PASSPHRASE_FILE`` names, for scripts, or else asked
for at the terminal. It is never an option's value: those stand in the shell's history and in the list of processes.
"""

import base64
import getpass
import json
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, ValidationError

from client.errors import KeyRefused
from protocol.errors import KeyNotOpened
from protocol.ids import Base64, PersonId, Strict, person_party
from protocol.sealed_key import MAX_PASSPHRASE_BYTES, checked_passphrase, open_key, seal_key

VARIABLE: Final = "CONSORTIA_KEY_PASSPHRASE_FILE"
FORMAT: Final = "consortia-sealed-key/1"
Ask = Callable[[Path], bytes]
"""The passphrase of a key file."""


class SealedKeyFile(Strict):
    """``sealed`` is the content of an open key file, sealed under the person's party name as the label."""

    format: Literal["consortia-sealed-key/1"]
    person: PersonId
    sealed: Annotated[Base64, Field(repr=False)]


def sealed_content(content: str, person: str, passphrase: bytes) -> str:
    """What a key file with this ``content`` holds under ``passphrase``. Raises ``KeyRefused`` for a poor one."""
    try:
        sealed = seal_key(content.encode(), passphrase, person_party(person), os.urandom)
    except KeyNotOpened as problem:
        raise KeyRefused(str(problem)) from None
    file = SealedKeyFile(format=FORMAT, person=person, sealed=base64.b64encode(sealed).decode())
    return json.dumps(file.model_dump(), indent=2) + "\n"


def open_content(path: Path, raw: bytes, ask: Ask) -> bytes:
    """The content of the key file at ``path``, opened if it is sealed. Raises ``KeyRefused``."""
    try:
        file = SealedKeyFile.model_validate_json(raw)
    except ValidationError:
        return raw  # an open key file, or none: its reader tells
    try:
        return open_key(base64.b64decode(file.sealed), ask(path), person_party(file.person))
    except KeyNotOpened as problem:
        raise KeyRefused(f"{path}: {problem}") from None


def persons_passphrase(path: Path) -> bytes:
    """The passphrase of ``path`` from the file that the environment names, or from the terminal."""
    named = os.environ.get(VARIABLE)
    if named:
        return passphrase_in(Path(named))
    if not sys.stdin.isatty():
        raise KeyRefused(f"{path} is sealed by a passphrase; name a private file with it in {VARIABLE}")
    return getpass.getpass(f"Passphrase of {path}: ").encode()


def passphrase_in(path: Path) -> bytes:
    """The passphrase in a private file. Raises ``KeyRefused`` if others may read it, or it holds none."""
    try:
        with path.open("rb") as file:
            mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
            if mode & 0o077:
                raise KeyRefused(f"{path} may be read by others (mode {mode:04o}); run: chmod 600 {path}")
            return checked_passphrase(file.read(MAX_PASSPHRASE_BYTES + 3))
    except OSError as error:
        raise KeyRefused(f"passphrase file {path} can't be read: {error.strerror}") from None
    except KeyNotOpened as problem:
        raise KeyRefused(f"{path}: {problem}") from None


def new_passphrase(file: Path | None, ask: bool) -> bytes | None:
    """The passphrase for a key to be written: from a file, typed twice at the terminal, or none."""
    if file is not None and ask:
        raise KeyRefused("give --passphrase-file or --ask-passphrase, not both")
    if file is not None:
        return passphrase_in(file)
    if not ask:
        return None
    typed = getpass.getpass("New passphrase: ").encode()
    if getpass.getpass("Once more: ").encode() != typed:
        raise KeyRefused("the two passphrases differ; nothing was written")
    try:
        return checked_passphrase(typed)
    except KeyNotOpened as problem:
        raise KeyRefused(str(problem)) from None
