"""The transparency log, seen by those who don't run it: leaves, checkpoints and pinned views.

A checkpoint is a C2SP tlog-checkpoint, a signed note whose text is

    ORIGIN                     the log's name, also the name of its key
    SIZE                       leaves, decimal
    BASE64                     root hash, 32 bytes
    charter HEX                extension: SHA-256 of the charter in force (its head), at most once
    time RFC3339               extension: when it was signed, UTC, at most once

Further extension lines are signed with the rest and mean nothing here. The tree itself is in `protocol.tree`, the
note in `protocol.signed_note`; their names are offered here too, so that readers of the log need one import.
"""

import base64
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from pydantic import StringConstraints

from protocol.ids import Digest, PartyId, Strict, StudyId, Timestamp, moment, timestamp
from protocol.signed_note import LogError, NoteRefused, VerifierKey, open_note, sign_note
from protocol.tree import (
    EMPTY_ROOT,
    HASH_BYTES,
    ProofRefused,
    TreeHead,
    leaf_hash,
    node_hash,
    tree_root,
    verify_consistency,
    verify_inclusion,
)

__all__ = [
    "EMPTY_ROOT",
    "Checkpoint",
    "GrowthUnproven",
    "LogEntry",
    "LogError",
    "LogForked",
    "LogShrank",
    "LogView",
    "NoteRefused",
    "ProofRefused",
    "TreeHead",
    "VerifierKey",
    "advance",
    "leaf_hash",
    "node_hash",
    "sign_checkpoint",
    "tree_root",
    "verify_checkpoint",
    "verify_consistency",
    "verify_inclusion",
]

MAX_SIZE: Final = 2**63 - 1
MAX_EXTENSIONS: Final = 16

_LEAF = json.JSONEncoder(sort_keys=True, separators=(",", ":"))
_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_ORIGIN = re.compile(r"[!-*,-~]{1,255}")
_EXTENSION = re.compile(r"[ -~]{1,256}")
_HEX_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}(-[0-9]{2}){2}T[0-9]{2}(:[0-9]{2}){2}Z")


class LogForked(LogError):
    """Two checkpoints of one size with different roots, both signed: `pinned` and `shown` are the evidence."""

    def __init__(self, message: str, pinned: str, shown: str) -> None:
        super().__init__(message)
        self.pinned = pinned
        self.shown = shown


class LogShrank(LogError):
    """A checkpoint smaller than the one pinned."""


class GrowthUnproven(LogError):
    """A larger checkpoint without a proof that it extends the one pinned."""


class LogEntry(Strict):
    """A leaf: what was recorded, by its digest, with metadata; its index is its place in the tree.

    `kind` is a statement's type or the name of an exchange ("refusal", "upload-list"), `digest` the SHA-256
    of the exact bytes recorded. Every field is a name or a digest: no free text, so no personal data.
    """

    kind: Annotated[str, StringConstraints(pattern=r"^[a-z][a-z0-9-]{0,62}$")]
    digest: Digest
    issuer: PartyId
    study: StudyId | None
    round: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9:./-]{0,79}$")] | None
    recorded_at: Timestamp

    def leaf_bytes(self) -> bytes:
        """Canonical JSON (RFC 8785): the leaf that the tree hashes.

        Every value is null or printable ASCII without quotes, so that sorted keys without spaces are all it takes; a
        test holds the two together.
        """
        return _LEAF.encode(self.__dict__).encode()

    def leaf_hash(self) -> bytes:
        return leaf_hash(self.leaf_bytes())


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """A tree head under a log's name; every instance is one that `text` and `parse` carry unchanged."""

    origin: str
    size: int
    root_hash: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not _ORIGIN.fullmatch(self.origin):
            raise NoteRefused(f"origin {self.origin[:80]!r}: 1 to 255 printable ASCII characters, no space, no '+'")
        if isinstance(self.size, bool) or not 0 <= self.size <= MAX_SIZE:
            raise NoteRefused(f"tree size {self.size} is not between 0 and {MAX_SIZE}")
        if len(self.root_hash) != HASH_BYTES:
            raise NoteRefused(f"the root hash has {len(self.root_hash)} bytes, {HASH_BYTES} are needed")
        if self.size == 0 and self.root_hash != EMPTY_ROOT:
            raise NoteRefused("the root hash of an empty log is SHA-256 of nothing")
        self._check_extensions()

    def _check_extensions(self) -> None:
        if len(self.extensions) > MAX_EXTENSIONS:
            raise NoteRefused(f"{len(self.extensions)} extension lines, at most {MAX_EXTENSIONS} are read")
        for line in self.extensions:
            if not _EXTENSION.fullmatch(line):
                raise NoteRefused(f"extension line {line[:80]!r}: 1 to 256 printable ASCII characters")
        charter, time = self._extension("charter"), self._extension("time")
        if charter is not None and not _HEX_DIGEST.fullmatch(charter):
            raise NoteRefused(f"extension charter {charter[:80]!r} is not 64 lower-case hexadecimal characters")
        if time is not None:
            _parse_time(time)

    @classmethod
    def stamped(cls, origin: str, head: TreeHead, charter: str | None, signed_at: datetime) -> Self:
        """A checkpoint with this project's two extension lines; without `charter` before there is one."""
        charters = () if charter is None else (f"charter {charter}",)
        return cls(origin, head.size, head.root, (*charters, f"time {timestamp(signed_at)}"))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a checkpoint's text, which has one spelling only."""
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise NoteRefused("a checkpoint is three lines or more, each ending in a newline: origin, size, root hash")
        origin, size, root, *extensions = lines
        if not _SIZE.fullmatch(size):
            raise NoteRefused(f"tree size {size[:80]!r} is not a decimal number without leading zeros")
        checkpoint = cls(origin, int(size), _root(root), tuple(extensions))
        if checkpoint.text() != text:
            raise NoteRefused("the checkpoint is not in its canonical form")
        return checkpoint

    def text(self) -> str:
        """The note text that is signed."""
        root = base64.b64encode(self.root_hash).decode()
        return "\n".join([self.origin, str(self.size), root, *self.extensions, ""])

    @property
    def head(self) -> TreeHead:
        return TreeHead(self.size, self.root_hash)

    @property
    def charter(self) -> str | None:
        """SHA-256 of the charter in force, hexadecimal, or None."""
        return self._extension("charter")

    @property
    def signed_at(self) -> datetime | None:
        """When the log says that it signed, UTC, or None. Whether that is recent is for who has a clock."""
        time = self._extension("time")
        return None if time is None else _parse_time(time)

    def _extension(self, tag: str) -> str | None:
        values = [line[len(tag) + 1 :] for line in self.extensions if line.split(" ")[0] == tag]
        if len(values) > 1:
            raise NoteRefused(f"{len(values)} extension lines {tag!r}; one is allowed")
        return values[0] if values else None


def _root(text: str) -> bytes:
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise NoteRefused("the root hash is not base64") from None


def _parse_time(text: str) -> datetime:
    try:
        if _TIME.fullmatch(text):
            return moment(text)
    except ValueError:
        pass  # digits in the right places that are no date
    raise NoteRefused(f"extension time {text[:80]!r} is not a UTC time such as 2026-11-22T03:29:00Z")


def sign_checkpoint(checkpoint: Checkpoint, key_name: str, key: Ed25519PrivateKey) -> str:
    """Return the signed note."""
    return sign_note(checkpoint.text(), key_name, key)


def verify_checkpoint(note: str, key_name: str, key: Ed25519PublicKey) -> Checkpoint:
    """Return the checkpoint that `key` signed as `key_name`, or raise `NoteRefused`."""
    return Checkpoint.parse(open_note(note, VerifierKey(key_name, key)))


@dataclass(frozen=True, slots=True)
class LogView:
    """What a client has pinned of one log. Only `advance` moves it; these are the rules, in order.

    1. The note is signed by the log's key (C2SP signed-note), else `NoteRefused`.
    2. Its origin is the key's name and the origin pinned, else `NoteRefused`: two logs are never mixed.
    3. It is never smaller than what is pinned, else `LogShrank`.
    4. At the same size it has the same root and needs no proof, else `LogForked`, with both notes as evidence.
    5. If larger, a consistency proof from pinned to new verifies (RFC 9162, 2.1.4.2), else `GrowthUnproven`.
    6. Whatever is refused, the view stays as it was: these objects never change.

    Not checked here: age and charter head (`Checkpoint.signed_at`, `.charter`), which need a clock and the charter.
    `note` is the evidence for `size` and `root`: keep it with them. It is empty only before the first advance.
    """

    origin: str
    size: int = 0
    root: bytes = EMPTY_ROOT
    note: str = ""


def advance(view: LogView, note: str, proof: Sequence[bytes], verifier: VerifierKey) -> LogView:
    """Return the view after `note`, or raise by the rules of `LogView`; `proof` goes from `view.size` to it."""
    checkpoint = verify_checkpoint(note, verifier.name, verifier.public_key)
    if not view.origin == checkpoint.origin == verifier.name:
        raise NoteRefused(
            f"the checkpoint is of log {checkpoint.origin} by key {verifier.name}, pinned is {view.origin}"
        )
    if checkpoint.size < view.size:
        raise LogShrank(
            f"the log has {checkpoint.size} leaves, {view.size} were seen before; keep both notes, call the admin"
        )
    if checkpoint.size == view.size and checkpoint.root_hash != view.root:
        roots = f"{view.root.hex()} and {checkpoint.root_hash.hex()}"
        raise LogForked(f"the log signed two roots at {view.size} leaves: {roots}", pinned=view.note, shown=note)
    try:
        verify_consistency(TreeHead(view.size, view.root), checkpoint.head, proof)
    except ProofRefused as error:
        raise GrowthUnproven(
            f"no proof that the log of {checkpoint.size} leaves extends the pinned one: {error}"
        ) from None
    return LogView(view.origin, checkpoint.size, checkpoint.root_hash, note)
