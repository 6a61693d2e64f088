"""Cosignatures (C2SP tlog-cosignature, cosignature/v1, Ed25519): witnesses' lines on a log's checkpoint.

A witness signs, with its own clock, that this is the largest tree of this log that it has seen and that it grew out
of all it had seen before. The line's blob is key id (4 bytes) || timestamp (8 bytes, big-endian, POSIX seconds) ||
Ed25519 signature (64 bytes) over

    cosignature/v1
    time SECONDS
    the checkpoint's note text, final newline included

Stricter than the specification: a timestamp of 0 is refused, and one that is ahead of the reader's clock by more than
`MAX_AHEAD` doesn't count.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.signed_note import (
    MAX_NOTE_BYTES,
    MAX_SIGNATURES,
    NoteRefused,
    SignatureLine,
    check_name,
    key_from_hex,
    key_id,
    parse_key,
    read_line,
    signature_lines,
    spell_key,
    split_note,
)

__all__ = [
    "MAX_AHEAD",
    "MAX_LINE_BYTES",
    "CosignerKey",
    "Witnessed",
    "cosign",
    "merge",
    "read_cosignature",
    "timestamps",
    "witnessed",
]

COSIGNATURE_V1: Final = b"\x04"
MAX_AHEAD: Final = timedelta(minutes=5)
MAX_LINE_BYTES: Final = 512
"""A cosignature line: a name of at most 255 characters, 104 of base64, and what stands between."""
_TIME_BYTES: Final = 8
_SIGNATURE_BYTES: Final = 64
_MAX_SECONDS: Final = 2**63 - 1


@dataclass(frozen=True, slots=True)
class CosignerKey:
    """A witness's public key and the name it signs under; str() is NAME+KEYID+BASE64(0x04 || key)."""

    name: str
    public_key: Ed25519PublicKey

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def key_id(self) -> bytes:
        """4 bytes: SHA-256(name || 0x0A || 0x04 || public key)[:4]; another than that of a log's key."""
        return key_id(self.name, self._typed_key())

    def _typed_key(self) -> bytes:
        return COSIGNATURE_V1 + self.public_key.public_bytes_raw()

    def __str__(self) -> str:
        return spell_key(self.name, self._typed_key())

    @classmethod
    def from_hex(cls, name: str, public_key: str) -> Self:
        """The form in which a charter holds the key: 64 hexadecimal characters."""
        return cls(name, key_from_hex(name, public_key))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read NAME+KEYID+BASE64; the id must be the one that name and key give."""
        return cls(*parse_key(text, COSIGNATURE_V1))


def cosign(note: str, name: str, key: Ed25519PrivateKey, seconds: int) -> str:
    """The line by which `name` cosigns the note's text at POSIX time `seconds`, without a newline.

    Whether the text may be cosigned is for the caller to know: this only signs.
    """
    text, _ = split_note(note)
    if not 0 < seconds <= _MAX_SECONDS:
        raise NoteRefused(f"a cosignature's time is from 1 to {_MAX_SECONDS} seconds, not {seconds}")
    cosigner = CosignerKey(name, key.public_key())
    signature = key.sign(_message(text, seconds))
    return str(SignatureLine(name, cosigner.key_id, seconds.to_bytes(_TIME_BYTES, "big") + signature))


def read_cosignature(note: str, line: str, cosigner: CosignerKey) -> int:
    """When `cosigner` made the cosignature `line` of the note's text, POSIX seconds; or raise `NoteRefused`."""
    text, _ = split_note(note)
    return _verified(text, read_line(line), cosigner)


def timestamps(note: str, cosigners: Sequence[CosignerKey]) -> list[int | None]:
    """For each of the `cosigners`, in order, when it cosigned the note, POSIX seconds; None if it didn't.

    A wrong signature under a cosigner's name counts for nothing, and against nobody: it was not made by its key.
    """
    text, lines = split_note(note)
    found = signature_lines(lines)
    return [_made(text, found.get((one.name, one.key_id)), one) for one in cosigners]


def merge(note: str, lines: Sequence[str], cosigners: Iterable[CosignerKey]) -> str:
    """The note with the `lines` of these `cosigners` on it: one of each, the newest.

    Lines of other keys are left out, as the specification demands. Raises `NoteRefused` for a line under a
    cosigner's name and id that doesn't verify, and for more than a reader would read.
    """
    text, held = split_note(note)
    kept = signature_lines(held)
    known = {(cosigner.name, cosigner.key_id): cosigner for cosigner in cosigners}
    for line in map(read_line, lines):
        place = (line.name, line.key_id)
        if place in known:
            before = _made(text, kept.get(place), known[place])
            if _verified(text, line, known[place]) > (before or 0):
                kept[place] = line
    return _note(text, kept.values())


@dataclass(frozen=True, slots=True)
class Witnessed:
    """How far a checkpoint was witnessed when it was looked at.

    `fresh` are the names of the witnesses that count, by name; `until` is when too few of them will, None if there
    are too few now.
    """

    fresh: tuple[str, ...]
    quorum: int
    until: datetime | None

    @property
    def quorate(self) -> bool:
        return self.until is not None


def witnessed(note: str, witnesses: Sequence[CosignerKey], quorum: int, now: datetime, max_age: timedelta) -> Witnessed:
    """Whether `quorum` of the `witnesses` cosigned the note within `max_age` before `now`, which has a zone.

    Distinct keys are counted once. Raises `NoteRefused` for what is no signed note; the log's own signature isn't
    checked here.
    """
    oldest, newest = (now - max_age).timestamp(), (now + MAX_AHEAD).timestamp()
    names: set[str] = set()
    by_key: dict[bytes, int] = {}
    for cosigner, made in zip(witnesses, timestamps(note, witnesses), strict=True):
        if made is not None and oldest <= made <= newest:
            names.add(cosigner.name)
            key = cosigner.public_key.public_bytes_raw()
            by_key[key] = max(made, by_key.get(key, 0))
    fresh = tuple(sorted(names))
    if not 0 < quorum <= len(by_key):
        return Witnessed(fresh, quorum, None)
    # The quorum stands as long as the oldest of its newest cosignatures does.
    weakest = sorted(by_key.values(), reverse=True)[quorum - 1]
    return Witnessed(fresh, quorum, datetime.fromtimestamp(weakest, UTC) + max_age)


def _made(text: str, line: SignatureLine | None, cosigner: CosignerKey) -> int | None:
    try:
        return None if line is None else _verified(text, line, cosigner)
    except NoteRefused:
        return None


def _verified(text: str, line: SignatureLine, cosigner: CosignerKey) -> int:
    if (line.name, line.key_id) != (cosigner.name, cosigner.key_id):
        raise NoteRefused(
            f"the line is by key {line.name[:80]} {line.key_id.hex()}, not by {cosigner.name} {cosigner.key_id.hex()}"
        )
    seconds = _seconds(line)
    try:
        cosigner.public_key.verify(line.signature[_TIME_BYTES:], _message(text, seconds))
    except InvalidSignature:
        raise NoteRefused(f"the cosignature by {cosigner.name} is not one of this checkpoint") from None
    return seconds


def _seconds(line: SignatureLine) -> int:
    if len(line.signature) != _TIME_BYTES + _SIGNATURE_BYTES:
        raise NoteRefused(f"the cosignature by {line.name[:80]} has {len(line.signature)} bytes, 72 are right")
    seconds = int.from_bytes(line.signature[:_TIME_BYTES], "big")
    if not 0 < seconds <= _MAX_SECONDS:
        raise NoteRefused(f"the cosignature by {line.name[:80]} has the time {seconds}, 1 to {_MAX_SECONDS} are right")
    return seconds


def _message(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()


def _note(text: str, lines: Iterable[SignatureLine]) -> str:
    written = [f"{line}\n" for line in lines]
    note = text + "\n" + "".join(written)
    if len(written) > MAX_SIGNATURES or len(note.encode()) > MAX_NOTE_BYTES:
        raise NoteRefused(
            f"{len(written)} signature lines, {len(note.encode())} bytes: at most {MAX_SIGNATURES} and "
            f"{MAX_NOTE_BYTES} are read"
        )
    return note
