"""What a recipient gets, and how the silos vouch for it.

A bundle is sealed (HPKE) for each recipient as ``salt || bundle``. Every approving silo had logged
``commitment(salt, bundle)`` before; the recipient opens the bundle and accepts it only if enough of them match.
"""

import hashlib

from protocol import canonical

SALT_BYTES = 32


def release_context(study: str, sender: str, recipient: str) -> bytes:
    """HPKE's ``info`` for a release."""
    return canonical.encode(
        {"context": "consortia/release/v1", "study": study, "sender": sender, "recipient": recipient}
    )


def release_commitment(salt: bytes, bundle: bytes) -> str:
    """SHA-256 (hex) over a domain tag, the salt of 32 bytes and the bundle."""
    if len(salt) != SALT_BYTES:
        raise ValueError(f"release salt has {len(salt)} bytes, it must have {SALT_BYTES}")
    return hashlib.sha256(b"consortia/release/v1\x00" + salt + bundle).hexdigest()
