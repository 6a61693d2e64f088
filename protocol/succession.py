"""How one charter follows another, after the root role of The Update Framework (specification, 5.3). The rules:

1. The founding charter has version 1, no predecessor, the digest that was pinned, and signatures of at least its own
   threshold of its own admins.
2. Version N+1 names the digest of version N as its predecessor, and comes directly after it.
3. Version N+1 carries signatures of at least N's threshold of N's admins, and of at least its own threshold of its own
   admins. An admin counts once for each, by the key that the version which names it has; there is no other signature.
4. Consortium name and log origin never change. All else may: members, people and their keys, threshold, witnesses,
   the hub's and the log's keys, expiry.
5. Names and keys of a version are distinct (checked in ``protocol.charter``).
6. Where the version that names an admin gives it a decision key, its signature holds an assertion by that key.

A version that has expired serves for nothing but its own succession: whoever has a clock checks that.
"""

import hmac
from collections.abc import Sequence

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from protocol.charter import Charter, Person, charter_bytes, charter_digest
from protocol.decision import Assertion, verify_assertion
from protocol.errors import BadSignature, CharterRefused
from protocol.ids import PersonId, Signature, Strict

DOMAIN = b"consortia/charter/v1"
DECISION = "charter"
"""The kind under which a FIDO2 key is asked for a charter."""


class CharterSignature(Strict):
    """An admin's Ed25519 signature over ``consortia/charter/v1`` || 0x00 || canonical charter, and what FIDO2 added."""

    signer: PersonId
    signature: Signature
    assertion: Assertion | None


def sign_charter(
    charter: Charter, signer: str, key: Ed25519PrivateKey, assertion: Assertion | None = None
) -> CharterSignature:
    """``signer``'s signature, with an ``assertion`` over ``charter_bytes`` where it has a decision key."""
    return CharterSignature(signer=signer, signature=key.sign(_message(charter)).hex(), assertion=assertion)


def check_founding(charter: Charter, signatures: Sequence[CharterSignature], pinned: str) -> None:
    """Raises ``CharterRefused`` unless ``charter`` is the one that was pinned, signed by rule 1."""
    if not hmac.compare_digest(charter_digest(charter), pinned):
        raise CharterRefused("rule 1: the founding charter is not the one that was pinned; call an admin")
    if charter.version != 1 or charter.previous is not None:
        raise CharterRefused("rule 1: the founding charter must have version 1 and no predecessor")
    _require_known(charter, signatures, (charter,))
    require_threshold(charter, charter, signatures, "rule 1")


def check_succession(older: Charter, newer: Charter, signatures: Sequence[CharterSignature]) -> None:
    """Raises ``CharterRefused`` unless ``newer`` may come directly after ``older``."""
    check_change(older, newer)
    _require_known(newer, signatures, (older, newer))
    require_threshold(older, newer, signatures, "rule 3")
    require_threshold(newer, newer, signatures, "rule 3")


def check_change(older: Charter, newer: Charter) -> None:
    """Rules 2 and 4, before anybody signed. Raises ``CharterRefused``."""
    if newer.version != older.version + 1 or newer.previous != charter_digest(older):
        raise CharterRefused(f"rule 2: version {newer.version} does not come directly after version {older.version}")
    for field in ("consortium", "log_origin"):
        if getattr(newer, field) != getattr(older, field):
            raise CharterRefused(f"rule 4: {field} may not change")


def require_threshold(authority: Charter, signed: Charter, signatures: Sequence[CharterSignature], rule: str) -> None:
    """Raises ``CharterRefused`` unless enough admins of ``authority`` signed ``signed``."""
    found = signers(authority, signed, signatures)
    if len(found) < authority.threshold:
        names = ", ".join(found) or "nobody"
        raise CharterRefused(
            f"{rule}: charter version {signed.version} is signed by {names}; "
            f"{authority.threshold} of the {len(authority.admins)} admins of version {authority.version} must sign it"
        )


def signers(authority: Charter, signed: Charter, signatures: Sequence[CharterSignature]) -> tuple[str, ...]:
    """The admins of ``authority`` whose signature over ``signed`` verifies, each once."""
    admins = [person for person in authority.people if person.role == "admin"]
    return tuple(p.person for p in admins if any(_verifies(one, p, signed) for one in signatures))


def check_signature(signature: CharterSignature, charter: Charter, older: Charter | None) -> None:
    """Raises ``CharterRefused`` unless an admin of ``charter``, or of the version before it, made the signature."""
    _require_known(charter, (signature,), (charter,) if older is None else (older, charter))


def _require_known(signed: Charter, signatures: Sequence[CharterSignature], authorities: Sequence[Charter]) -> None:
    for one in signatures:
        if not any(one.signer in signers(authority, signed, (one,)) for authority in authorities):
            raise CharterRefused(f"rule 3: a signature of {one.signer} that no admin's key verifies")


def _verifies(one: CharterSignature, admin: Person, charter: Charter) -> bool:
    if one.signer != admin.person:
        return False
    try:
        key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(admin.signing_key))
        key.verify(bytes.fromhex(one.signature), _message(charter))
        if admin.decision_key is not None:
            if one.assertion is None:
                return False
            verify_assertion(one.assertion, admin.decision_key, DECISION, charter_bytes(charter))
    except (InvalidSignature, ValueError, BadSignature):
        return False
    return True


def _message(charter: Charter) -> bytes:
    return DOMAIN + b"\x00" + charter_bytes(charter)
