"""A private key at rest under a passphrase: scrypt (RFC 7914) and AES-256-GCM.

A sealed key is ``MAGIC``, 16 bytes of salt, 12 of nonce, then ciphertext and tag. The associated data are all bytes
before the ciphertext and the key's label, so that one key's file can't stand in for another's. The cost of scrypt is
part of the format and is never read from the file: whoever changes the file can't make guessing cheaper.

Nothing here touches files: the hub, the silo and people's software each keep their own.
"""

from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from protocol.errors import KeyNotOpened

MAGIC: Final = b"consortia-sealed-key/1\n"
SALT_BYTES: Final = 16
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = len(MAGIC) + SALT_BYTES + NONCE_BYTES + TAG_BYTES
MIN_PASSPHRASE_BYTES: Final = 12
MAX_PASSPHRASE_BYTES: Final = 1024

_COST: Final = {"n": 1 << 17, "r": 8, "p": 1}
"""128 MiB and about half a second for each guess."""


def is_sealed(stored: bytes) -> bool:
    """Whether ``stored`` says that it is a sealed key."""
    return stored.startswith(MAGIC)


def seal_key(private: bytes, passphrase: bytes, label: str, random_bytes: Callable[[int], bytes]) -> bytes:
    """``private`` sealed under ``passphrase``; ``label`` says which key it is and is needed to open it.

    ``random_bytes(n)`` gives n fresh random bytes (``os.urandom``). Raises ``KeyNotOpened`` for a passphrase that
    ``checked_passphrase`` refuses.
    """
    salt, nonce = random_bytes(SALT_BYTES), random_bytes(NONCE_BYTES)
    head = MAGIC + salt + nonce
    return head + AESGCM(_key(passphrase, salt)).encrypt(nonce, private, _bound(head, label))


def open_key(sealed: bytes, passphrase: bytes, label: str) -> bytes:
    """The private bytes. Raises ``KeyNotOpened`` for a wrong passphrase, another key's label or changed bytes."""
    if not is_sealed(sealed) or len(sealed) <= OVERHEAD_BYTES:
        raise KeyNotOpened(f"{label}: this is not a sealed key; restore it from the backup")
    end = len(MAGIC) + SALT_BYTES
    salt, nonce, content = sealed[len(MAGIC) : end], sealed[end : end + NONCE_BYTES], sealed[end + NONCE_BYTES :]
    try:
        return AESGCM(_key(passphrase, salt)).decrypt(nonce, content, _bound(MAGIC + salt + nonce, label))
    except InvalidTag:
        # A wrong passphrase and a changed file look the same, and must.
        raise KeyNotOpened(
            f"{label}: the passphrase is wrong, or the key file was changed; check both, or restore the backup"
        ) from None


def checked_passphrase(content: bytes) -> bytes:
    """The passphrase in a file's content: all of it but one line's end. Raises ``KeyNotOpened`` for a poor one."""
    passphrase = content.removesuffix(b"\n").removesuffix(b"\r")
    if not MIN_PASSPHRASE_BYTES <= len(passphrase) <= MAX_PASSPHRASE_BYTES:
        raise KeyNotOpened(
            f"the passphrase has {len(passphrase)} bytes, {MIN_PASSPHRASE_BYTES} to {MAX_PASSPHRASE_BYTES} are "
            "needed; make one: openssl rand -base64 32"
        )
    return passphrase


def _key(passphrase: bytes, salt: bytes) -> bytes:
    return Scrypt(salt=salt, length=32, **_COST).derive(checked_passphrase(passphrase))


def _bound(head: bytes, label: str) -> bytes:
    return head + label.encode()
