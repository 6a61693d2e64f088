"""The charter: who is a member, who decides, with which keys. The root of trust that every silo pins when it joins.

A document like the root role of The Update Framework: each version is signed by its admins (``protocol.succession``
has the rules by which one follows another), and ``protocol.chain`` says whose signature counts under it.
"""

import base64
import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from protocol import canonical
from protocol.decision import DecisionKey
from protocol.errors import BadSignature
from protocol.ids import Base64, Digest, Hex32, PersonId, Printable, SiloId, Strict, Timestamp, person_party
from protocol.words import spoken

Role = Literal["admin", "researcher", "officer"]


class Member(Strict):
    """A silo: its Ed25519 key (signs, and cosigns the log) and its ML-KEM-768/X25519 key (receives)."""

    silo: SiloId
    signing_key: Hex32
    receiving_key: Base64


class Person(Strict):
    """A person with an Ed25519 key; with a ``decision_key`` (FIDO2) no decision counts without an assertion by it."""

    person: PersonId
    role: Role
    signing_key: Hex32
    receiving_key: Base64
    decision_key: DecisionKey | None


class Witness(Strict):
    """Somebody outside who cosigns the log's checkpoints (C2SP tlog-witness): key name and Ed25519 key."""

    name: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9./-]{0,118}[a-z0-9]$")]
    key: Hex32


class Charter(Strict):
    """``threshold`` (m) of the people with role admin decide; ``tolerated_liars`` (f) of the witnesses may lie."""

    format: Literal["consortia-charter/2"]
    consortium: Annotated[Printable, StringConstraints(min_length=1, max_length=120)]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    previous: Digest | None
    expires_at: Timestamp
    threshold: Annotated[int, Field(ge=1, le=100)]
    hub_key: Hex32
    log_origin: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9./-]{0,118}[a-z0-9]$")]
    log_key: Hex32
    members: Annotated[tuple[Member, ...], Field(max_length=256)]
    people: Annotated[tuple[Person, ...], Field(min_length=1, max_length=10_000)]
    witnesses: Annotated[tuple[Witness, ...], Field(max_length=64)]
    tolerated_liars: Annotated[int, Field(ge=0, le=100)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [member.silo for member in self.members]
        persons = [person.person for person in self.people]
        witnesses = [witness.name for witness in self.witnesses]
        keys = [m.signing_key for m in self.members] + [p.signing_key for p in self.people]
        keys += [self.hub_key, self.log_key, *(witness.key for witness in self.witnesses)]
        touched = [p.decision_key.public_key for p in self.people if p.decision_key is not None]
        for found in (names, persons, witnesses):
            if len(set(found)) != len(found):
                raise ValueError("charter: names of members, of people and of witnesses must be distinct")
        if len(set(keys)) != len(keys) or len(set(touched)) != len(touched):
            raise ValueError("charter: every key must belong to one party only")
        if any(name.startswith(f"{self.log_origin}/silo/") for name in witnesses):
            raise ValueError("charter: a witness may not have a member's key name, LOG_ORIGIN/silo/NAME")
        if self.threshold > len(self.admins):
            raise ValueError(
                f"charter: threshold {self.threshold} of {len(self.admins)} admins; it must be 1 to their number"
            )
        return self

    @property
    def admins(self) -> tuple[str, ...]:
        """Names of those who decide."""
        return tuple(person.person for person in self.people if person.role == "admin")

    @property
    def admin_keys(self) -> dict[str, str]:
        """By party, the keys that an admin decides with: a decision counts for as long as they stay the same."""
        found = {}
        for one in self.people:
            if one.role == "admin":
                touched = "" if one.decision_key is None else one.decision_key.public_key
                found[person_party(one.person)] = f"{one.signing_key} {touched}"
        return found

    @property
    def silos(self) -> tuple[str, ...]:
        return tuple(member.silo for member in self.members)

    @property
    def quorum_of_witnesses(self) -> int:
        """How many must cosign: any two such sets share a witness that is no liar, if at most f are."""
        return (len(self.members) + len(self.witnesses) + self.tolerated_liars) // 2 + 1

    def member(self, silo: str) -> Member:
        for member in self.members:
            if member.silo == silo:
                return member
        raise BadSignature(f"silo {silo} is not a member under charter version {self.version}")

    def person(self, name: str) -> Person:
        for person in self.people:
            if person.person == name:
                return person
        raise BadSignature(f"person {name} is not named in charter version {self.version}")

    def signing_key_of(self, party: str) -> str:
        """The Ed25519 key (hex) of ``hub``, ``silo:NAME`` or ``person:NAME``; raises ``BadSignature``."""
        if party == "hub":
            return self.hub_key
        kind, _, name = party.partition(":")
        if kind == "silo":
            return self.member(name).signing_key
        return self.person(name).signing_key


def charter_bytes(charter: Charter) -> bytes:
    """Its canonical JSON (RFC 8785): what is hashed and signed."""
    return canonical.encode(charter.model_dump(mode="json"))


def charter_digest(charter: Charter) -> str:
    """The digest that names a charter version: SHA-256 of its canonical JSON."""
    return canonical.digest(charter_bytes(charter))


def charter_words(digest: str) -> str:
    """Eight pronounceable words (128 bits) of a charter's digest, to be compared by telephone."""
    return spoken(bytes.fromhex(digest)[:16])


def person_words(signing_key: str, receiving_key: str, decision_key: DecisionKey | None) -> str:
    """Six words that name all keys of a person, to be compared by telephone."""
    if decision_key is None:
        return key_words(signing_key, receiving_key)
    keys = {"signing_key": signing_key, "receiving_key": receiving_key}
    named = canonical.encode({**keys, "decision_key": decision_key.model_dump(mode="json")})
    return spoken(hashlib.sha256(b"consortia/card-words/v2\x00" + named).digest()[:12])


def key_words(signing_key: str, receiving_key: str) -> str:
    """Six pronounceable words (96 bits) that name a pair of public keys, to be compared by telephone."""
    material = bytes.fromhex(signing_key) + base64.b64decode(receiving_key, validate=True)
    return spoken(hashlib.sha256(b"consortia/key-words/v1\x00" + material).digest()[:12])
