"""With which of its keys the hub signs: at each point of a transaction the pair that the charter in force there names.

So the checkpoint over the leaf of a succession, which names the new charter, is signed by the new log key; and what
the hub says after that leaf, in the same transaction, by the new hub key (`protocol.chain`, `protocol.follow`).
"""

from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import Connection

from hub.audit.checkpoint import CheckpointSigner
from hub.config.key_ring import KeyRing
from hub.config.keys import HubKeys
from hub.errors import SetupRefused
from hub.services.pinned_charter import PinnedCharter


@dataclass(frozen=True, slots=True)
class KeysInForce:
    ring: KeyRing
    charter: PinnedCharter
    log_origin: str

    def signer(self, connection: Connection) -> CheckpointSigner:
        """Of checkpoints. Raises `SetupRefused` if the keys in force aren't in the hub's folder."""
        pair = self._pair(connection)
        return CheckpointSigner(self.log_origin, pair.log, tuple(one.log.public_key() for one in self.ring.pairs))

    def hub_key(self, connection: Connection) -> Ed25519PrivateKey:
        """For the hub's statements. Raises `SetupRefused` if the keys in force aren't in the hub's folder."""
        return self._pair(connection).hub

    def _pair(self, connection: Connection) -> HubKeys:
        charter = self.charter.current(connection)
        pair = self.ring.find(charter.hub_key, charter.log_key)
        if pair is None:
            raise SetupRefused(
                f"{self.ring.folder} doesn't hold the keys that charter version {charter.version} names; "
                "put them back from the backup"
            )
        return pair
