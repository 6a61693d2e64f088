"""A silo's journal: the rules by which anyone can check one. The silo keeps it (``silo_node.journal``).

1. An entry is an event in canonical JSON (RFC 8785). Entries count from 1, without a gap.
2. Entry k's hash is SHA-256("consortia/journal/v1" || 0x00 || hash of entry k-1 || event); 32 zero bytes stand before
   the first. So a hash names its entry and all before it.
3. Whatever leaves a silo has its entry first. A statement's entry has the statement's type, study, time of issue,
   size and digest.
4. A statement carries as ``journal_head`` the hash before its own entry, and no two statements carry the same. So one
   that stands in the hub's log fixes its own entry and all before it: none can be edited, taken out or added later.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Annotated, Final, Literal

from pydantic import Field

from protocol import canonical
from protocol.chain import study_of
from protocol.errors import ProtocolError
from protocol.ids import Digest, Sentence, Strict, StudyId, Timestamp
from protocol.signing import Signed

EMPTY: Final = "0" * 64
"""The hash before the first entry."""

Kind = Literal["statement", "cosignature", "chunk", "shares", "blob", "decision", "warning", "halt", "self-test"]

_DOMAIN: Final = b"consortia/journal/v1\x00"
_AT: Final = b'{"at":"'
_TIME: Final = slice(len(_AT), len(_AT) + len("2026-11-22T03:29:00Z"))


class JournalBroken(ProtocolError):
    """A journal that does not hold together, or not with what was signed on top of it."""


class JournalEvent(Strict):
    """One line of the journal: what left (by its SHA-256 and size in bytes), when, to whom, in which study.

    ``what`` is a statement's type, ``checkpoint of N leaves``, ``round R attempt A chunk K``, or the words of a
    decision, a warning or a halt, or a self-test's figures, whose ``digest`` is of its whole report.
    """

    at: Timestamp
    kind: Kind
    what: Sentence
    to: Literal["hub", "nobody"]
    study: StudyId | None
    digest: Digest | None
    size: Annotated[int, Field(ge=0)]


@dataclass(frozen=True, slots=True)
class Claim:
    """A signed statement of the silo, for rule 4: the head it carries, its digest, and how to call it in a message."""

    head: str
    digest: str
    name: str


class Chain:
    """Goes along a journal by rules 1 and 2, from entry ``first`` on, whose predecessor has the hash ``head``."""

    __slots__ = ("_next", "head")

    def __init__(self, first: int = 1, head: str = EMPTY) -> None:
        self._next, self.head = first, head

    @property
    def last(self) -> int:
        """The number of the newest entry; 0 before any."""
        return self._next - 1

    def take(self, index: int, stored: str, event: bytes) -> str:
        """The next entry; returns the hash before it. Raises ``JournalBroken`` if it doesn't fit."""
        before, after = self.head, chain_hash(self.head, event)
        if index != self._next or after != stored:
            raise JournalBroken(f"journal entry {self._next} does not fit the chain: it was changed, moved or removed")
        self._next, self.head = index + 1, after
        return before


class Claims:
    """What the silo signed, held against the entries as they pass, by rule 4."""

    def __init__(self, claims: Iterable[Claim]) -> None:
        """Raises ``JournalBroken`` if two different statements carry the same head."""
        self._open: dict[str, Claim] = {}
        for claim in claims:
            known = self._open.setdefault(claim.head, claim)
            if known.digest != claim.digest:
                raise JournalBroken(
                    f"{known.name} and {claim.name} carry the same journal head: there are two journals"
                )
        self.met = 0

    def take(self, index: int, before: str, event: bytes) -> None:
        """An entry, with the hash before it. Raises ``JournalBroken`` if something else was signed in its place."""
        claim = self._open.pop(before, None)
        if claim is None:
            return
        if json.loads(event).get("digest") != claim.digest:
            raise JournalBroken(f"journal entry {index} is not the one that was signed there: {claim.name}")
        self.met += 1

    @property
    def unmet(self) -> list[Claim]:
        """Those whose entry has not passed."""
        return list(self._open.values())


def chain_hash(previous: str, event: bytes) -> str:
    """The hash of an entry whose event has the canonical bytes ``event``."""
    return hashlib.sha256(_DOMAIN + bytes.fromhex(previous) + event).hexdigest()


def event_bytes(event: JournalEvent) -> bytes:
    """Canonical JSON (RFC 8785)."""
    return canonical.encode(event.model_dump(mode="json"))


def event_time(event: bytes) -> str:
    """The time of an event from its canonical bytes, nothing else read: its first field."""
    if not event.startswith(_AT):
        raise JournalBroken("a journal event is not in canonical form (RFC 8785): it doesn't begin with its time")
    return event[_TIME].decode("ascii", "replace")


def statement_event(signed: Signed) -> JournalEvent:
    """The event of a statement's entry, by rule 3."""
    body = signed.body
    return JournalEvent(
        at=body.issued_at,
        kind="statement",
        what=body.type,
        to="hub",
        study=study_of(body),
        digest=signed.digest,
        size=len(signed.wire),
    )
