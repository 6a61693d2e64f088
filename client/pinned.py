"""What a person's machine remembers of a log: two private files beside the key."""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError

from client.errors import KeyRefused
from protocol import canonical
from protocol.ids import Digest, Hex32, Strict
from protocol.translog import EMPTY_ROOT


class Pinned(Strict):
    """The founding charter's digest and the last checkpoint seen. ``next`` is where the log is followed from."""

    format: Literal["consortia-pinned/2"]
    charter: Digest
    origin: str
    size: Annotated[int, Field(ge=0)]
    root: Hex32
    note: str
    next: Annotated[int, Field(ge=0)]

    @classmethod
    def start(cls, charter: str, origin: str) -> Self:
        """Before the first checkpoint."""
        return cls(
            format="consortia-pinned/2",
            charter=charter,
            origin=origin,
            size=0,
            root=EMPTY_ROOT.hex(),
            note="",
            next=0,
        )


class Cached(Strict):
    """An entry that verified, with the exact texts of its leaf and statement."""

    index: Annotated[int, Field(ge=0)]
    leaf: str
    statement: str


class PinnedStore:
    """``me.pinned.json`` and ``me.pinned.jsonl`` beside ``me.key``, both 0600."""

    def __init__(self, key_path: Path) -> None:
        self.path = key_path.with_suffix(".pinned.json")
        self._entries = key_path.with_suffix(".pinned.jsonl")

    def load(self) -> Pinned | None:
        """What was pinned, or None before the first time. Raises ``KeyRefused`` for a damaged file."""
        try:
            return Pinned.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except ValidationError:
            # Never forgotten silently: a hub that could make us forget could show another log.
            raise KeyRefused(f"{self.path} is damaged; restore it, or remove it to pin the charter anew") from None

    def save(self, pinned: Pinned) -> None:
        """Replace the pinned state at once, durably."""
        beside = self.path.with_suffix(".tmp")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(canonical.encode(pinned.model_dump()))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(self.path)

    def append(self, entries: Iterable[Cached]) -> None:
        """Add entries; they count once a ``save`` moves ``next`` past them."""
        # The newline first: a line that a crash cut short must not swallow the next one.
        lines = b"\n" + b"".join(canonical.encode(entry.model_dump()) + b"\n" for entry in entries)
        descriptor = os.open(self._entries, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as file:
            file.write(lines)
            file.flush()
            os.fsync(file.fileno())

    def entries(self, before: int) -> Iterator[Cached]:
        """The entries below index ``before``, each once: a crash may have left some twice, or cut the last line."""
        if not self._entries.exists():
            return
        last = -1
        for line in self._entries.read_bytes().splitlines():
            try:
                entry = Cached.model_validate_json(line)
            except ValidationError:
                continue  # a line cut by a crash lies beyond ``next`` and was fetched again
            if last < entry.index < before:
                last = entry.index
                yield entry
