"""A FIDO2 security key and the browser in front of it, in software. Each part of an answer can be made wrong."""

import base64
import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from fido2 import cbor

from protocol.decision import Assertion, DecisionKey, challenge

RP_ID = "consortia-decision.localhost"
ORIGIN = f"http://{RP_ID}:49152"
UP, UV, BE, BS, AT, ED = 0x01, 0x04, 0x08, 0x10, 0x40, 0x80


def text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()


def client_data(kind: str, asked: bytes, **changes: Any) -> bytes:
    """What a browser makes; a change to ``None`` leaves the field out."""
    shown = base64.urlsafe_b64encode(asked).rstrip(b"=").decode()
    value = {"type": kind, "challenge": shown, "origin": ORIGIN, "crossOrigin": False, **changes}
    return json.dumps({name: one for name, one in value.items() if one is not None}, separators=(",", ":")).encode()


@dataclass
class SecurityKey:
    private: ec.EllipticCurvePrivateKey | Ed25519PrivateKey
    credential: bytes = field(default=bytes(range(32)))

    @classmethod
    def es256(cls, seed: int = 7) -> "SecurityKey":
        return cls(ec.derive_private_key(seed, ec.SECP256R1()))

    @classmethod
    def eddsa(cls, seed: int = 7) -> "SecurityKey":
        return cls(Ed25519PrivateKey.from_private_bytes(seed.to_bytes(32, "big")))

    @property
    def cose(self) -> bytes:
        if isinstance(self.private, Ed25519PrivateKey):
            return cbor.encode({1: 1, 3: -8, -1: 6, -2: self.private.public_key().public_bytes_raw()})
        numbers = self.private.public_key().public_numbers()
        return cbor.encode({1: 2, 3: -7, -1: 1, -2: numbers.x.to_bytes(32, "big"), -3: numbers.y.to_bytes(32, "big")})

    @property
    def public(self) -> DecisionKey:
        return DecisionKey(credential=text(self.credential), public_key=text(self.cose))

    def sign(self, data: bytes, client: bytes) -> bytes:
        message = data + hashlib.sha256(client).digest()
        if isinstance(self.private, Ed25519PrivateKey):
            return self.private.sign(message)
        return self.private.sign(message, ec.ECDSA(hashes.SHA256()))

    def answer(self, data: bytes, client: bytes) -> Assertion:
        """A right signature over whatever is given."""
        return Assertion(
            authenticator_data=text(data), client_data=text(client), signature=text(self.sign(data, client))
        )

    def touch(
        self, kind: str, message: bytes, *, rp_id: str = RP_ID, flags: int = UP | UV, more: bytes = b"", **changes: Any
    ) -> Assertion:
        """The answer to a decision's challenge. ``changes`` are for the client data."""
        data = authenticator_data(rp_id, flags) + more
        return self.answer(data, client_data("webauthn.get", challenge(kind, message), **changes))

    def attest(self, *, flags: int = UP | UV | AT, more: bytes = b"", rp_id: str = RP_ID, fmt: str = "none") -> bytes:
        """An attestation object for this key as a new credential."""
        data = authenticator_data(rp_id, flags) + bytes(16) + len(self.credential).to_bytes(2, "big")
        held = data + self.credential + self.cose + more
        return cbor.encode({"fmt": fmt, "attStmt": {}, "authData": held})


def authenticator_data(rp_id: str = RP_ID, flags: int = UP | UV, counter: int = 5) -> bytes:
    return hashlib.sha256(rp_id.encode()).digest() + bytes([flags]) + counter.to_bytes(4, "big")
