"""Signed notes (C2SP signed-note): a text, a blank line, one signature line for each signer.

A line is "— NAME BASE64(key id || signature)". Only type 0x01, plain Ed25519 over the text, is made and checked
here; lines of other keys and types are kept out of the way, as the specification demands, so witnesses can add theirs.
Stricter than the specification in three places: base64 must be canonical, one key signs once, and names that
we make are printable ASCII.
"""

import base64
import hashlib
import re
from dataclasses import dataclass
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.errors import ProtocolError

__all__ = ["MAX_NOTE_BYTES", "MAX_SIGNATURES", "LogError", "NoteRefused", "VerifierKey", "open_note", "sign_note"]

ED25519 = b"\x01"
KEY_ID_BYTES = 4
# Room for the 16 signatures that a verifier must accept, each a post-quantum one of 5 kB.
MAX_NOTE_BYTES = 128 * 1024
MAX_SIGNATURES = 64

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
        if not _NAME.fullmatch(self.name):
            raise NoteRefused(f"key name {self.name[:80]!r}: 1 to 255 printable ASCII characters, no space, no '+'")

    @property
    def key_id(self) -> bytes:
        """4 bytes: SHA-256(name || 0x0A || 0x01 || public key)[:4]; it names a key and proves nothing."""
        return hashlib.sha256(self.name.encode() + b"\n" + self._typed_key()).digest()[:KEY_ID_BYTES]

    def _typed_key(self) -> bytes:
        return ED25519 + self.public_key.public_bytes_raw()

    def __str__(self) -> str:
        return f"{self.name}+{self.key_id.hex()}+{base64.b64encode(self._typed_key()).decode()}"

    @classmethod
    def from_hex(cls, name: str, public_key: str) -> Self:
        """The form in which a charter holds the key: 64 hexadecimal characters."""
        try:
            return cls(name, Ed25519PublicKey.from_public_bytes(bytes.fromhex(public_key)))
        except ValueError:
            raise NoteRefused(f"key of {name[:80]!r}: 64 hexadecimal characters are needed") from None

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read NAME+KEYID+BASE64; the id must be the one that name and key give."""
        match = _VERIFIER.fullmatch(text)
        typed = _decode(match["key"], "verifier key") if match else b""
        if match is None or typed[:1] != ED25519 or len(typed) != 33:
            raise NoteRefused(f"verifier key {text[:80]!r} is not NAME+KEYID+BASE64 of an Ed25519 key")
        key = cls(match["name"], Ed25519PublicKey.from_public_bytes(typed[1:]))
        if key.key_id.hex() != match["id"]:
            raise NoteRefused(
                f"verifier key of {key.name}: id {match['id']} should be {key.key_id.hex()}; copy it again"
            )
        return key


def sign_note(text: str, key_name: str, key: Ed25519PrivateKey) -> str:
    """Return the note over `text`, which ends in a newline."""
    if not text.endswith("\n") or _FORBIDDEN.search(text):
        raise NoteRefused("a note's text ends in a newline and has no other control character")
    verifier = VerifierKey(key_name, key.public_key())
    signature = base64.b64encode(verifier.key_id + key.sign(text.encode())).decode()
    return f"{text}\n— {key_name} {signature}\n"


def open_note(note: str, verifier: VerifierKey) -> str:
    """Return the text that `verifier` signed, final newline included, or raise `NoteRefused`.

    One bad signature under the expected name and id refuses the note, whatever else is on it.
    """
    text, lines = _split(note)
    signatures: dict[tuple[str, bytes], bytes] = {}
    for line in lines:
        name, key_id, signature = _signature(line)
        if (name, key_id) in signatures:
            raise NoteRefused(f"two signature lines of key {name} {key_id.hex()}; one is allowed")
        signatures[name, key_id] = signature
    ours = signatures.get((verifier.name, verifier.key_id))
    if ours is None:
        raise NoteRefused(f"no signature by key {verifier.name} {verifier.key_id.hex()}, the one that is trusted")
    try:
        verifier.public_key.verify(ours, text.encode())
    except InvalidSignature:
        raise NoteRefused(f"the signature by key {verifier.name} {verifier.key_id.hex()} is wrong") from None
    return text


def _split(note: str) -> tuple[str, list[str]]:
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


def _signature(line: str) -> tuple[str, bytes, bytes]:
    parts = line.split(" ")
    if len(parts) != 3 or parts[0] != "—" or not _is_key_name(parts[1]):
        raise NoteRefused(f"signature line {line[:80]!r} is not '— NAME BASE64'")
    blob = _decode(parts[2], f"signature of {parts[1][:80]}")
    if len(blob) <= KEY_ID_BYTES:
        raise NoteRefused(f"the signature of {parts[1][:80]} has {len(blob)} bytes, at least 5 are needed")
    return parts[1], blob[:KEY_ID_BYTES], blob[KEY_ID_BYTES:]


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
