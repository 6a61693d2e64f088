"""The charter: who is a member, with which keys. The root of trust that every silo pins when it joins.

The rules by which a silo follows it (``check_succession`` here, signatures and pinning in ``protocol.chain``):

1. The founding charter has version 1, no predecessor, and the digest that came with the invitation, out of band.
2. Version N+1 names the digest of version N as its predecessor, and comes directly after it.
3. Every version is signed by the admin of the version before it (the founding one by its own admin).
4. Admin, hub key, log key, log origin and consortium name never change (their succession comes later).
5. A member or person, once named, stays with the same keys and role; names and keys are distinct. (A removal
   must not free the name for other keys: it comes with the successions.)

After the root role of The Update Framework, section 5.3, with one admin.
"""

import base64
import hashlib
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from protocol import canonical
from protocol.errors import BadSignature, CharterRefused
from protocol.ids import Base64, Digest, Hex32, PersonId, Printable, SiloId, Strict, Timestamp
from protocol.words import spoken

Role = Literal["admin", "researcher", "officer"]


class Member(Strict):
    """A silo: its Ed25519 key (signs) and its ML-KEM-768/X25519 key (receives)."""

    silo: SiloId
    signing_key: Hex32
    receiving_key: Base64


class Person(Strict):
    person: PersonId
    role: Role
    signing_key: Hex32
    receiving_key: Base64


class Charter(Strict):
    format: Literal["consortia-charter/1"]
    consortium: Annotated[Printable, StringConstraints(min_length=1, max_length=120)]
    version: Annotated[int, Field(ge=1, le=1_000_000)]
    previous: Digest | None
    expires_at: Timestamp
    admin: PersonId
    hub_key: Hex32
    log_origin: Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9./-]{0,118}[a-z0-9]$")]
    log_key: Hex32
    members: Annotated[tuple[Member, ...], Field(max_length=256)]
    people: Annotated[tuple[Person, ...], Field(min_length=1, max_length=10_000)]

    @model_validator(mode="after")
    def _distinct(self) -> Self:
        names = [member.silo for member in self.members]
        persons = [person.person for person in self.people]
        keys = [m.signing_key for m in self.members] + [p.signing_key for p in self.people]
        keys += [self.hub_key, self.log_key]
        if len(set(names)) != len(names) or len(set(persons)) != len(persons):
            raise ValueError("charter: names of members and of people must be distinct")
        if len(set(keys)) != len(keys):
            raise ValueError("charter: every key must belong to one party only")
        if not any(p.person == self.admin and p.role == "admin" for p in self.people):
            raise ValueError("charter: the admin must be among the people, with role admin")
        return self

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


def charter_digest(charter: Charter) -> str:
    """The digest that names a charter version: SHA-256 of its canonical JSON."""
    return canonical.digest(canonical.encode(charter.model_dump(mode="json")))


def check_succession(older: Charter, newer: Charter) -> None:
    """Raises ``CharterRefused`` unless ``newer`` may come directly after ``older`` (rules 2, 4 and 5)."""
    if newer.version != older.version + 1 or newer.previous != charter_digest(older):
        raise CharterRefused(f"rule 2: version {newer.version} does not come directly after version {older.version}")
    for field in ("consortium", "admin", "hub_key", "log_key", "log_origin"):
        if getattr(newer, field) != getattr(older, field):
            raise CharterRefused(f"rule 4: {field} may not change")
    keys = {m.silo: m for m in newer.members}
    if any(keys.get(m.silo) != m for m in older.members):
        raise CharterRefused("rule 5: a member and its keys stay as they are")
    people = {p.person: p for p in newer.people}
    if any(people.get(p.person) != p for p in older.people):
        raise CharterRefused("rule 5: a person, its role and keys stay as they are")


def key_words(signing_key: str, receiving_key: str) -> str:
    """Six pronounceable words (96 bits) that name a pair of public keys, to be compared by telephone."""
    material = bytes.fromhex(signing_key) + base64.b64decode(receiving_key, validate=True)
    return spoken(hashlib.sha256(b"consortia/key-words/v1\x00" + material).digest()[:12])
