"""What the protocol refuses. Each message is safe to show to anyone: it holds no data and no secret."""


class ProtocolError(Exception):
    """A message, contract or key that the protocol does not allow."""


class Malformed(ProtocolError):
    """Bytes that are not what the protocol says they must be."""


class DraftRefused(ProtocolError):
    """A study draft that makes no contract."""


class BadSignature(ProtocolError):
    """A signature that does not verify, or a signer whom the charter does not name for this."""


class CharterRefused(ProtocolError):
    """A charter that does not follow from the one that was pinned."""


class RuleBroken(Exception):
    """Something in the log that does not follow from what stands before it; says which rule it breaks."""


class BadProof(ProtocolError):
    """An assertion or a DPoP proof that does not show what it has to."""


class KeyNotOpened(ProtocolError):
    """A private key at rest, or its passphrase, that can't be used."""
