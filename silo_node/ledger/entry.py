"""One entry of a ledger, and the chain that ties it to all before it.

An entry's digest is SHA-256("consortia/ledger-entry/v1" NUL | previous digest (32 bytes) | body), its body
canonical JSON (RFC 8785). So whoever holds a head can check every entry up to it, and no entry can be
changed, dropped or put in between without changing the head. The chain alone can't show that its end was cut
off, as by an old backup: for that this silo signs heads into the hub's log, and `Ledger.extends` compares.

Ledgers of format 1 have entries of the kinds domain, reserve and settle, whose charges say nothing of their use.
Those stay as they are, byte for byte; format 2 adds the use of a charge, caps, recoveries and the owner's word on
a domain beside others.
"""

import hashlib
import re
from dataclasses import dataclass
from typing import Any, Literal

from protocol import canonical
from protocol.errors import Malformed
from protocol.spend import Event, parse_events
from silo_node.errors import LedgerDamaged
from silo_node.ledger.budget import Head, OtherPersons, PrivacyDomain
from silo_node.ledger.caps import Cap, Use

Kind = Literal["domain", "reserve", "settle", "cap", "recover"]

EMPTY = Head(0, "0" * 64)
_TAG = b"consortia/ledger-entry/v1\x00"


@dataclass(frozen=True, slots=True)
class Draft:
    """What is to be written: a domain with its definition, a charge with its events, a cap, or a recovery.

    ``heads`` of a recovery are the digests that this silo signed of a chain that was lost.
    """

    kind: Kind
    domain: PrivacyDomain | None = None
    charge_id: str = ""
    events: tuple[Event, ...] = ()
    use: Use | None = None
    cap: Cap | None = None
    heads: tuple[str, ...] = ()
    others: OtherPersons | None = None


@dataclass(frozen=True, slots=True)
class Entry:
    """What was written. `at` is RFC 3339 in UTC; `body` holds the exact bytes that the digest covers."""

    head: Head
    previous: str
    body: bytes
    kind: Kind
    at: str
    domain: str
    definition: PrivacyDomain | None = None
    charge_id: str = ""
    events: tuple[Event, ...] = ()
    use: Use | None = None
    cap: Cap | None = None
    heads: tuple[str, ...] = ()
    others: OtherPersons | None = None


def write(after: Head, draft: Draft, at: str) -> Entry:
    """The entry that follows `after`."""
    content = {"sequence": after.length + 1, "at": at, "kind": draft.kind} | _content(draft)
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


def _content(draft: Draft) -> dict[str, Any]:
    name = "" if draft.domain is None else draft.domain.name
    match draft.kind:
        case "recover":
            return {"domain": "", "heads": list(draft.heads)}
        case "cap" if draft.cap is not None:
            cap = draft.cap
            return {"domain": cap.domain, "scope": cap.scope, "name": cap.name, "picos": cap.picos}
        case "domain" if draft.domain is not None:
            one = draft.domain
            terms = {"unit": one.unit, "epsilon": one.epsilon, "delta": one.delta, "order": one.order}
            others = draft.others
            said = {} if others is None else {"others": {"beside": list(others.beside), "reason": others.reason}}
            return {"domain": name, **terms, **said}
    content = {"domain": name, "charge": draft.charge_id, "events": [event.model_dump() for event in draft.events]}
    return content if draft.use is None else content | {"use": _use_value(draft.use)}


def _use_value(use: Use) -> dict[str, Any]:
    return {"dataset": use.dataset, "study": use.study, "recipients": list(use.recipients)}


def _entry(head: Head, previous: str, body: bytes, content: dict[str, Any]) -> Entry:
    kind, at, name = content.pop("kind"), content.pop("at"), content.pop("domain")
    if kind == "domain":
        others = _others(**content.pop("others")) if "others" in content else None
        definition = PrivacyDomain(name=name, **_floats(content))
        return Entry(head, previous, body, kind, at, name, definition, others=others)
    if kind == "cap":
        return Entry(head, previous, body, kind, at, name, cap=Cap(domain=name, **content))
    if kind == "recover":
        return Entry(head, previous, body, kind, at, name, heads=_digests(**content))
    use = _use(**content.pop("use")) if "use" in content and kind == "reserve" else None
    if kind not in ("reserve", "settle") or content.keys() != {"charge", "events"}:
        raise ValueError("an entry is of no known kind")
    events = parse_events(content["events"])
    return Entry(head, previous, body, kind, at, name, charge_id=content["charge"], events=events, use=use)


def _use(dataset: str, study: str, recipients: list[str]) -> Use:
    if not all(isinstance(text, str) for text in (dataset, study, *recipients)):
        raise ValueError("a use has names only")
    return Use(dataset, study, tuple(recipients))


def _others(beside: list[str], reason: str) -> OtherPersons:
    if not all(isinstance(text, str) for text in (*beside, reason)):
        raise ValueError("a declaration has names and a reason")
    return OtherPersons(tuple(beside), reason)


def _digests(heads: list[str]) -> tuple[str, ...]:
    if not heads or not all(re.fullmatch("[0-9a-f]{64}", head) for head in heads):
        raise ValueError("a recovery names the heads that were lost")
    return tuple(heads)


def _floats(content: dict[str, Any]) -> dict[str, Any]:
    """RFC 8785 writes 1.0 as 1, which reads back as an int."""
    return content | {"epsilon": float(content["epsilon"]), "delta": float(content["delta"])}
