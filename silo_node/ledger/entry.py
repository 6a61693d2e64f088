"""One entry of a ledger, and the chain that ties it to all before it.

An entry's digest is SHA-256("consortia/ledger-entry/v1" NUL | previous digest (32 bytes) | body), its body
canonical JSON (RFC 8785). So whoever holds a head can check every entry up to it, and no entry can be
changed, dropped or put in between without changing the head. The chain alone can't show that its end was cut
off, as by an old backup: for that the hub countersigns heads, and `Ledger.extends` compares.
"""

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from protocol import canonical
from protocol.errors import Malformed
from protocol.spend import Event, parse_events
from silo_node.errors import LedgerDamaged
from silo_node.ledger.budget import Head, PrivacyDomain

Kind = Literal["domain", "reserve", "settle"]

EMPTY = Head(0, "0" * 64)
_TAG = b"consortia/ledger-entry/v1\x00"


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written: a domain with its definition, or a charge with its events."""

    kind: Kind
    domain: PrivacyDomain
    charge_id: str = ""
    events: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Entry:
    """What was written. `at` is RFC 3339 in UTC; `body` holds the exact bytes that the digest covers."""

    head: Head
    previous: str
    body: bytes
    kind: Kind
    at: str
    domain: str
    definition: PrivacyDomain | None
    charge_id: str
    events: tuple[Event, ...]


def write(after: Head, draft: Draft, at: str) -> Entry:
    """The entry that follows `after`."""
    content: dict[str, Any] = {
        "sequence": after.length + 1,
        "at": at,
        "kind": draft.kind,
        "domain": draft.domain.name,
    }
    if draft.kind == "domain":
        domain = draft.domain
        content |= {
            "unit": domain.unit,
            "epsilon": domain.epsilon,
            "delta": domain.delta,
            "order": domain.order,
        }
    else:
        content |= {"charge": draft.charge_id, "events": [event.model_dump() for event in draft.events]}
    return read(after, canonical.encode(content))


def read(after: Head, body: bytes) -> Entry:
    """The entry of these bytes, as the next one after `after`. Raises LedgerDamaged where it isn't one."""
    head = Head(after.length + 1, digest(after.digest, body))
    try:
        content = canonical.decode(body)
        if content.pop("sequence") != head.length:
            raise ValueError("an entry is out of its place")
        return _entry(head, after.digest, body, content)
    except (Malformed, ValueError, KeyError, TypeError, AttributeError):
        raise LedgerDamaged(
            f"entry {head.length} of the ledger is not one that this program wrote; restore nothing by hand, "
            "keep the file and have the hub's countersigned head compared"
        ) from None


def digest(previous: str, body: bytes) -> str:
    """The digest of an entry with this body after the entry with digest `previous`."""
    return hashlib.sha256(_TAG + bytes.fromhex(previous) + body).hexdigest()


def _entry(head: Head, previous: str, body: bytes, content: dict[str, Any]) -> Entry:
    kind, at, name = content.pop("kind"), content.pop("at"), content.pop("domain")
    if kind == "domain":
        definition = PrivacyDomain(name=name, **_floats(content))
        return Entry(head, previous, body, kind, at, name, definition, "", ())
    if kind not in ("reserve", "settle") or content.keys() != {"charge", "events"}:
        raise ValueError("an entry is of no known kind")
    return Entry(head, previous, body, kind, at, name, None, content["charge"], parse_events(content["events"]))


def _floats(content: dict[str, Any]) -> dict[str, Any]:
    """RFC 8785 writes 1.0 as 1, which reads back as an int."""
    return content | {"epsilon": float(content["epsilon"]), "delta": float(content["delta"])}
