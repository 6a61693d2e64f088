"""Signed notes (C2SP signed-note): a text, a blank line, one signature line for each signer.

A line is "— NAME BASE64(key id || signature)". Of the types only 0x01, plain Ed25519 over the text, is made and
checked here (witnesses' lines: `protocol.cosignature`); lines of other keys are kept out of the way, as the
specification demands. Stricter than the specification in three places: base64 must be canonical, one key signs once,
and names that we make are printable ASCII.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Final, Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.errors import ProtocolError

__all__ = [
    "MAX_NOTE_BYTES",
    "MAX_SIGNATURES",
    "LogError",
    "NoteRefused",
    "SignatureLine",
    "VerifierKey",
    "check_name",
    "key_from_hex",
    "key_id",
    "open_note",
    "parse_key",
    "read_line",
    "sign_note",
    "signature_lines",
    "spell_key",
    "split_note",
]

ED25519: Final = b"\x01"
KEY_ID_BYTES: Final = 4
# Room for the 16 signatures that a verifier must accept, each a post-quantum one of 5 kB, and for a line of each of
# the 256 members that a charter may have, and of its outside witnesses.
MAX_NOTE_BYTES: Final = 128 * 1024
MAX_SIGNATURES: Final = 384

_NAME = re.compile(r"[!-*,-~]{1,255}")
_VERIFIER = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/=]{1,64})")
_FORBIDDEN = re.compile(r"[\x00-\x09\x0b-\x1f]")


class LogError(ProtocolError):
    """Something that the hub says about its log doesn't hold."""


class NoteRefused(LogError):
    """A signed note, verifier key or checkpoint that is malformed or not signed by the expected key."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A public key with the name it signs under; str() is the form to publish and to pin: NAME+KEYID+BASE64."""

    name: str
    public_key: Ed25519PublicKey

    def __post_init__(self) -> None:
        check_name(self.name)

    @property
    def key_id(self) -> bytes:
        """4 bytes: SHA-256(name || 0x0A || 0x01 || public key)[:4]; it names a key and proves nothing."""
        return key_id(self.name, self._typed_key())

    def _typed_key(self) -> bytes:
        return ED25519 + self.public_key.public_bytes_raw()

    def __str__(self) -> str:
        return spell_key(self.name, self._typed_key())

    @classmethod
    def from_hex(cls, name: str, public_key: str) -> Self:
        """The form in which a charter holds the key: 64 hexadecimal characters."""
        return cls(name, key_from_hex(name, public_key))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read NAME+KEYID+BASE64; the id must be the one that name and key give."""
        return cls(*parse_key(text, ED25519))


@dataclass(frozen=True, slots=True)
class SignatureLine:
    """A line of a note, read and not verified; str() gives it back, without its newline."""

    name: str
    key_id: bytes
    signature: bytes

    def __str__(self) -> str:
        return f"— {self.name} {base64.b64encode(self.key_id + self.signature).decode()}"


def key_id(name: str, typed_key: bytes) -> bytes:
    """4 bytes: SHA-256(name || 0x0A || type || public key)[:4]."""
    return hashlib.sha256(name.encode() + b"\n" + typed_key).digest()[:KEY_ID_BYTES]


def spell_key(name: str, typed_key: bytes) -> str:
    """NAME+KEYID+BASE64; `typed_key` is the byte of the key's type and the key."""
    return f"{name}+{key_id(name, typed_key).hex()}+{base64.b64encode(typed_key).decode()}"


def parse_key(text: str, kind: bytes) -> tuple[str, Ed25519PublicKey]:
    """Name and key in NAME+KEYID+BASE64 of an Ed25519 key of type `kind` (one byte)."""
    match = _VERIFIER.fullmatch(text)
    typed = _decode(match["key"], "verifier key") if match else b""
    if match is None or typed[:1] != kind or len(typed) != 33:
        raise NoteRefused(f"verifier key {text[:80]!r} is not NAME+KEYID+BASE64 of an Ed25519 key of type {kind[0]}")
    right = key_id(match["name"], typed).hex()
    if right != match["id"]:
        raise NoteRefused(f"verifier key of {match['name']}: id {match['id']} should be {right}; copy it again")
    return match["name"], Ed25519PublicKey.from_public_bytes(typed[1:])


def key_from_hex(name: str, public_key: str) -> Ed25519PublicKey:
    """The key in 64 hexadecimal characters; `name` is for the message only."""
    try:
        return Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key))
    except ValueError:
        raise NoteRefused(f"key of {name[:80]!r}: 64 hexadecimal characters are needed") from None


def check_name(name: str) -> None:
    """Raise `NoteRefused` for a key name that isn't made here."""
    if not _NAME.fullmatch(name):
        raise NoteRefused(f"key name {name[:80]!r}: 1 to 255 printable ASCII characters, no space, no '+'")


def sign_note(text: str, key_name: str, key: Ed25519PrivateKey) -> str:
    """Return the note over `text`, which ends in a newline."""
    if not text.endswith("\n") or _FORBIDDEN.search(text):
        raise NoteRefused("a note's text ends in a newline and has no other control character")
    verifier = VerifierKey(key_name, key.public_key())
    return f"{text}\n{SignatureLine(key_name, verifier.key_id, key.sign(text.encode()))}\n"


def open_note(note: str, verifier: VerifierKey) -> str:
    """Return the text that `verifier` signed, final newline included, or raise `NoteRefused`.

    One bad signature under the expected name and id refuses the note, whatever else is on it.
    """
    text, lines = split_note(note)
    ours = signature_lines(lines).get((verifier.name, verifier.key_id))
    if ours is None:
        raise NoteRefused(f"no signature by key {verifier.name} {verifier.key_id.hex()}, the one that is trusted")
    try:
        verifier.public_key.verify(ours.signature, text.encode())
    except InvalidSignature:
        raise NoteRefused(f"the signature by key {verifier.name} {verifier.key_id.hex()} is wrong") from None
    return text


def split_note(note: str) -> tuple[str, list[str]]:
    """A note's text, final newline included, and its signature lines without theirs; nothing is verified."""
    try:
        octets = len(note) if len(note) > MAX_NOTE_BYTES else len(note.encode())
    except UnicodeEncodeError:
        raise NoteRefused("the note is not valid UTF-8") from None
    if octets > MAX_NOTE_BYTES:
        raise NoteRefused(f"the note has {octets} bytes, at most {MAX_NOTE_BYTES} are read")
    if _FORBIDDEN.search(note):
        raise NoteRefused("the note has a control character other than newline")
    body, separator, block = note.rpartition("\n\n")
    if not separator or not block.endswith("\n"):
        raise NoteRefused("the note is not a text, a blank line and signature lines that end in a newline")
    lines = block[:-1].split("\n")
    if len(lines) > MAX_SIGNATURES:
        raise NoteRefused(f"the note has {len(lines)} signature lines, at most {MAX_SIGNATURES} are read")
    return body + "\n", lines


def signature_lines(lines: list[str]) -> dict[tuple[str, bytes], SignatureLine]:
    """The lines by name and key id; raise `NoteRefused` if one is malformed, or two are of one key."""
    found: dict[tuple[str, bytes], SignatureLine] = {}
    for line in map(read_line, lines):
        if (line.name, line.key_id) in found:
            raise NoteRefused(f"two signature lines of key {line.name} {line.key_id.hex()}; one is allowed")
        found[line.name, line.key_id] = line
    return found


def read_line(line: str) -> SignatureLine:
    """A signature line, without its newline; nothing is verified."""
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—" or not _is_key_name(parts[1]):
        raise NoteRefused(f"signature line {line[:80]!r} is not '— NAME BASE64'")
    blob = _decode(parts[2], f"signature of {parts[1][:80]}")
    if len(blob) <= KEY_ID_BYTES:
        raise NoteRefused(f"the signature of {parts[1][:80]} has {len(blob)} bytes, at least 5 are needed")
    return SignatureLine(parts[1], blob[:KEY_ID_BYTES], blob[KEY_ID_BYTES:])


def _is_key_name(name: str) -> bool:
    return bool(name) and "+" not in name and not any(letter.isspace() for letter in name)


def _decode(text: str, what: str) -> bytes:
    try:
        blob = base64.b64decode(text.encode("ascii"), validate=True)
    except ValueError:
        raise NoteRefused(f"the {what} is not base64") from None
    # Spare bits in the last letter would let one signature be written in several ways.
    if base64.b64encode(blob).decode() != text:
        raise NoteRefused(f"the {what} is not canonical base64")
    return blob
