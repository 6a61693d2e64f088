"""A charter on its way: drafted by an admin, signed by as many as it needs, published by whoever signs last.

Signatures are collected in the hub's log, or in a file that goes from hand to hand: before the founding charter there
is no log to write to, and an admin to be is not known to the hub yet.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from client.connection import Connection, heading
from client.errors import HubUntrusted, UsageRefused
from client.keys import Identity
from client.session import HubSession
from protocol import canonical, signing
from protocol.charter import Charter, charter_digest
from protocol.decision import DecisionKey
from protocol.errors import CharterRefused, ProtocolError
from protocol.ids import Strict
from protocol.membership_statements import CharterProposed, CharterPublished, CharterSigned, Enrolment
from protocol.signing import Signed
from protocol.study import explain
from protocol.succession import (
    CharterSignature,
    check_change,
    check_founding,
    check_signature,
    sign_charter,
    signers,
)

Touch = Callable[[CharterSignature, Charter, DecisionKey], CharterSignature]
"""Gives the signature the assertion of the security key that the charter names."""


class Draft(Strict):
    """A charter with the signatures that it has so far: what travels in a file."""

    format: Literal["consortia-charter-draft/1"]
    charter: Charter
    signatures: tuple[CharterSignature, ...]

    @property
    def digest(self) -> str:
        return charter_digest(self.charter)

    def with_signatures(self, more: Iterable[CharterSignature]) -> "Draft":
        """The draft with ``more``, each once."""
        new = tuple(one for one in dict.fromkeys(more) if one not in self.signatures)
        return self.model_copy(update={"signatures": (*self.signatures, *new)})


@dataclass(frozen=True, slots=True)
class Missing:
    """How many signatures a draft needs yet: of the admins in force, and of its own."""

    of_older: int
    of_newer: int

    @property
    def most(self) -> int:
        """How many admins must sign yet, if each signs for both."""
        return max(self.of_older, self.of_newer)

    @property
    def none(self) -> bool:
        return self.of_older <= 0 and self.of_newer <= 0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a draft: in force, or waiting for signatures."""

    draft: Draft
    missing: Missing

    @property
    def in_force(self) -> bool:
        return self.missing.none


def unsigned(charter: Charter) -> Draft:
    return Draft(format="consortia-charter-draft/1", charter=charter, signatures=())


def sign(draft: Draft, older: Charter | None, identity: Identity, touch: Touch) -> CharterSignature:
    """This admin's signature over the draft. Raises ``UsageRefused`` where neither version names it as admin."""
    authorities = [one for one in (older, draft.charter) if one is not None and identity.person in one.admins]
    if not authorities:
        raise UsageRefused(f"{identity.person} is admin neither in this draft nor in the charter in force")
    keys = [one.person(identity.person).decision_key for one in authorities]
    key = next((found for found in keys if found is not None), None)
    signature = sign_charter(draft.charter, identity.person, identity.signing)
    if key is not None:
        signature = touch(signature, draft.charter, key)
    try:
        check_signature(signature, draft.charter, older)
    except CharterRefused:
        raise UsageRefused(f"the key given is not the one that the charter has for {identity.person}") from None
    return signature


def missing(draft: Draft, older: Charter | None) -> Missing:
    """What the draft lacks by ``protocol.succession``, rules 1 and 3."""
    newer = draft.charter

    def lacks(authority: Charter) -> int:
        return max(0, authority.threshold - len(signers(authority, newer, draft.signatures)))

    return Missing(0 if older is None else lacks(older), lacks(newer))


def found(session: HubSession, draft: Draft, identity: Identity, now: datetime) -> Signed:
    """Post a founding charter that has all its signatures to a hub that has none."""
    try:
        check_founding(draft.charter, draft.signatures, draft.digest)
    except CharterRefused as refusal:
        raise UsageRefused(f"not posted: {refusal}; the other admins run: consortia admin charter sign-file") from None
    body = CharterPublished(
        type="charter", charter=draft.charter, signatures=draft.signatures, **heading(identity, now)
    )
    signed = signing.sign(body, identity.signing)
    session.post_charter(signed)
    return signed


def propose(connection: Connection, charter: Charter, touch: Touch) -> Outcome:
    """Sign a draft of the next version; publish it, or put it before the other admins."""
    connection.require_admin()
    older = connection.log.charter
    check_change(older, charter)
    check_members(connection, charter)
    draft = unsigned(charter)
    draft = draft.with_signatures([sign(draft, older, connection.identity, touch)])
    outcome = Outcome(draft, missing(draft, older))
    if outcome.in_force:
        _publish(connection, draft)
    else:
        connection.publish(
            CharterProposed(
                type="charter-proposed", charter=charter, signature=draft.signatures[0], **connection.heading()
            )
        )
    return outcome


def pending(connection: Connection) -> tuple[Outcome, ...]:
    """The drafts that may still follow the charter in force, newest first, with the signatures that verify."""
    log, older = connection.log, connection.log.charter
    drafts: dict[str, Draft] = {}
    for _, body in log.statements(CharterProposed):
        if body.charter.previous == charter_digest(older):
            draft = drafts.setdefault(charter_digest(body.charter), unsigned(body.charter))
            drafts[draft.digest] = draft.with_signatures(_verified(draft, older, (body.signature,)))
    for _, word in log.statements(CharterSigned):
        if (draft_ := drafts.get(word.charter)) is not None:
            drafts[word.charter] = draft_.with_signatures(_verified(draft_, older, (word.signature,)))
    return tuple(Outcome(draft, missing(draft, older)) for draft in reversed(drafts.values()))


def find(connection: Connection, prefix: str) -> Draft:
    """The pending draft whose digest begins with ``prefix`` (8 characters or more)."""
    matching = [one.draft for one in pending(connection) if one.draft.digest.startswith(prefix)]
    if len(prefix) < 8 or len(matching) != 1:
        raise UsageRefused(f"draft {prefix}: {len(matching)} drafts begin so; see: consortia admin charter pending")
    return matching[0]


def add_signatures(connection: Connection, draft: Draft, more: Iterable[CharterSignature]) -> Outcome:
    """Add signatures to a pending draft: in the log, and as the charter in force once they are enough."""
    connection.require_admin()
    older = connection.log.charter
    signed = draft.with_signatures(_verified(draft, older, tuple(more)))
    new = [one for one in signed.signatures if one not in draft.signatures]
    outcome = Outcome(signed, missing(signed, older))
    if outcome.in_force:
        _publish(connection, signed)
        return outcome
    for one in new:
        connection.publish(
            CharterSigned(type="charter-signed", charter=draft.digest, signature=one, **connection.heading())
        )
    return outcome


def check_members(connection: Connection, newer: Charter) -> None:
    """Raises ``HubUntrusted`` for a member of a draft who never enrolled with these keys."""
    known = {(m.silo, m.signing_key, m.receiving_key) for m in connection.log.charter.members}
    known |= {(b.silo, b.signing_key, b.receiving_key) for _, b in connection.log.statements(Enrolment)}
    for member in newer.members:
        if (member.silo, member.signing_key, member.receiving_key) not in known:
            raise HubUntrusted(f"the draft names silo {member.silo}, who never enrolled with these keys; don't sign it")


def read_draft(path: Path) -> Draft:
    """A draft from a file; nothing in it is verified yet."""
    try:
        return Draft.model_validate_json(path.read_bytes()[: canonical.MAX_DOCUMENT_BYTES + 1])
    except OSError as error:
        raise UsageRefused(f"draft {path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise UsageRefused(f"{path} is not a charter draft: {explain(error)}") from None


def write_draft(draft: Draft, path: Path) -> None:
    """Write the file that the other admins sign."""
    path.write_bytes(canonical.encode(draft.model_dump(mode="json")) + b"\n")


def _publish(connection: Connection, draft: Draft) -> None:
    connection.publish(
        CharterPublished(type="charter", charter=draft.charter, signatures=draft.signatures, **connection.heading())
    )


def _verified(draft: Draft, older: Charter, signatures: tuple[CharterSignature, ...]) -> tuple[CharterSignature, ...]:
    """Those signatures that count. One that doesn't is passed over: whoever made it wastes nobody else's."""
    good = []
    for one in signatures:
        try:
            check_signature(one, draft.charter, older)
        except ProtocolError:
            continue
        good.append(one)
    return tuple(good)
