"""A new security key for a person's decisions, made known on a page of this machine."""

import base64
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from client.decision_page.conversation import Done, Fields, Place, Unclear
from client.decision_page.local_page import Setting, serve
from pages.rendering import render
from protocol.decision import REGISTRATION, DecisionKey, challenge, register
from protocol.errors import BadSignature
from protocol.webauthn import ALGORITHMS, RP_ID


def register_on_page(person: str, setting: Setting) -> DecisionKey | None:
    """Let ``person`` touch a new security key; its public part, or None if the page was closed.

    Raises ``NotDecided`` after the time limit.
    """
    return serve(_Registering(person), setting)


@dataclass(slots=True)
class _Registering:
    person: str
    nonce: bytes = field(default_factory=lambda: secrets.token_bytes(32))

    def page(self, place: Place, trouble: str, fields: Fields) -> str:
        return render("security_key.html", place=place, person=self.person, trouble=trouble)

    def challenge(self, fields: Fields) -> Mapping[str, Any]:
        return {
            "challenge": _text(challenge(REGISTRATION, self.nonce)),
            "person": self.person,
            "user": _text(secrets.token_bytes(32)),
            "algorithms": list(ALGORITHMS),
            "rp": RP_ID,
        }

    def answer(self, fields: Fields) -> Done[DecisionKey | None]:
        if fields.get("verdict") == "close":
            return Done(render("security_key_made.html", key=None, person=self.person), None)
        try:
            attestation, client_data = (
                base64.b64decode(fields[name], validate=True) for name in ("attestation_object", "client_data")
            )
            key = register(attestation, client_data, self.nonce)
        except (KeyError, ValueError):
            raise Unclear("Confirm with a touch of the security key.") from None
        except BadSignature as refusal:
            raise Unclear(f"The key was not taken: {refusal}") from None
        return Done(render("security_key_made.html", key=key, person=self.person), key)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
