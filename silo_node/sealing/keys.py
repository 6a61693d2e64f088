"""The study secret on its way: sealed by the key silo for each other holder, opened, committed to, compared."""

import base64
import binascii
from collections.abc import Iterable
from contextlib import suppress

from protocol import canonical
from protocol.sealing.envelope import EnvelopeKeys, open_envelope, seal_envelope
from protocol.sealing.errors import SealingError
from protocol.sealing.secret import StudySecret
from silo_node.errors import StudyHalted


def envelope_context(study: str, epoch: int, sender: str, recipient: str) -> bytes:
    """HPKE's ``info``: an envelope opens for this study, key epoch, sender and recipient only."""
    return canonical.encode(
        {"context": "consortia/secret/v1", "study": study, "sender": sender, "recipient": recipient, "epoch": epoch}
    )


def seal_secret(secret: StudySecret, study: str, epoch: int, sender: str, recipient: str, receiving_key: str) -> str:
    """The secret for ``recipient``, whose ML-KEM-768/X25519 key the charter gives; base64."""
    public = base64.b64decode(receiving_key, validate=True)
    envelope = seal_envelope(secret.to_bytes(), public, envelope_context(study, epoch, sender, recipient))
    return base64.b64encode(envelope).decode()


def open_secret(envelope: str, study: str, epoch: int, sender: str, recipient: str, *own: EnvelopeKeys) -> StudySecret:
    """The secret in ``envelope``, sealed for one of the recipient's ``own`` keys.

    Raises ``StudyHalted`` if it was not sealed for this silo, study and epoch.
    """
    context = envelope_context(study, epoch, sender, recipient)
    for keys in own:
        with suppress(SealingError, binascii.Error):
            sealed = base64.b64decode(envelope, validate=True)
            return StudySecret.from_bytes(open_envelope(sealed, keys.private, context))
    raise StudyHalted(f"the study key that silo {sender} sent does not open for this silo and study")


def commitment(secret: StudySecret, study: str, epoch: int) -> str:
    """What every holder logs (hex); equal if and only if they hold the same secret."""
    context = {"context": "consortia/secret-commitment/v1", "study": study, "epoch": epoch}
    return secret.commitment(canonical.encode(context)).hex()


def state_mac(secret: StudySecret, study: str, index: int, state: Iterable[bytes]) -> str:
    """What a silo logs of the study's state after round ``index``, read in blocks (hex)."""
    context = {"context": "consortia/state/v1", "study": study, "round": index}
    return secret.state_mac_of(canonical.encode(context), state).hex()


def release_salt(secret: StudySecret, study: str) -> bytes:
    """32 bytes that all holders know and nobody else: they keep a released bundle's commitment from being guessed."""
    context = {"context": "consortia/release-salt/v1", "study": study}
    return secret.state_mac(canonical.encode(context), b"")
