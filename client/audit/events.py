"""The log's entries as events for a security team's own system (SIEM): a line for each leaf, of a verified log only."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any, Final

from client.audit.replay import Audited
from client.audit.verify import Seen, every, verify_file
from client.errors import UsageRefused
from protocol.chain import STATEMENT_KINDS
from protocol.export import RecordedLeaf
from protocol.ids import moment
from protocol.translog import LogEntry


class Severity(Enum):
    """How much a security team should care, by default."""

    INFORMATIONAL = 1
    LOW = 2
    MEDIUM = 3


SEVERITIES: Final = {
    **dict.fromkeys(("charter", "charter-proposed", "charter-signed", "invitation", "enrolment"), Severity.LOW),
    **dict.fromkeys(("study-refused", "study-objected", "study-withdrawn", "study-paused"), Severity.LOW),
    **dict.fromkeys(("refusal", "verification-failed", "round-voided"), Severity.MEDIUM),
}
"""Who is trusted changes, somebody says no: low. What should not happen in good order: medium. Else informational."""


@dataclass(frozen=True, slots=True)
class Event:
    """A leaf of the log ``origin`` with its statement's round and words; ``said_at`` is the issuer's own time."""

    origin: str
    index: int
    entry: LogEntry
    leaf_hash: str
    said_at: str | None
    round: int | None
    words: str

    @property
    def severity(self) -> Severity:
        return SEVERITIES.get(self.entry.kind, Severity.INFORMATIONAL)

    @property
    def refused(self) -> bool:
        """Whether the leaf records what the hub did not accept."""
        return self.entry.kind not in STATEMENT_KINDS

    @property
    def milliseconds(self) -> int:
        """When the log took it in, since 1970."""
        return int(moment(self.entry.recorded_at).timestamp() * 1000)

    @property
    def message(self) -> str:
        return f"{self.entry.kind} by {self.entry.issuer}" + (f": {self.words}" if self.words else "")


Writer = Callable[[Event], str]
"""Gives an event's line, without a newline and with none in it."""


def convert(log: Path, founding: str, to: Path, writer: Writer, seen: Seen | None = None) -> Audited:
    """Verify the export ``log`` and write its events to ``to``, which is there only if all of it verified.

    Raises ``AuditFailed`` for a log that doesn't verify, ``UsageRefused`` for a file that can't be read or written.
    """
    beside = to.with_name(to.name + ".partial")
    try:
        with beside.open("w", encoding="utf-8", newline="\n") as file:
            reader = _Reader(lambda event: file.write(writer(event) + "\n"))
            audited = verify_file(log, founding, seen=every(reader, seen))
            file.flush()
            os.fsync(file.fileno())
        beside.replace(to)
    except OSError as error:
        raise UsageRefused(f"{to} can't be written: {error.strerror}") from None
    finally:
        beside.unlink(missing_ok=True)
    return audited


class _Reader:
    """Makes events of leaves as they are read; the log's name is taken from its first charter."""

    def __init__(self, take: Callable[[Event], object]) -> None:
        self._take = take
        self._origin = ""

    def __call__(self, leaf: RecordedLeaf) -> None:
        body = statement_body(leaf)
        if leaf.entry.kind == "charter" and not self._origin:
            self._origin = str(body.get("charter", {}).get("log_origin", ""))
        said_at, index = body.get("issued_at"), body.get("round")
        event = Event(
            self._origin,
            leaf.index,
            leaf.entry,
            leaf.hash.hex(),
            said_at if isinstance(said_at, str) else None,
            index if isinstance(index, int) else None,
            _words(body),
        )
        self._take(event)


def statement_body(leaf: RecordedLeaf) -> dict[str, Any]:
    """The statement's body, or nothing for what isn't one: the verification that runs beside this says so."""
    if leaf.entry.kind not in STATEMENT_KINDS or leaf.recorded is None:
        return {}
    try:
        body = json.loads(leaf.recorded)["body"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def _words(body: dict[str, Any]) -> str:
    """What a person would want to read first of a statement."""
    contract = body.get("contract")
    if isinstance(contract, dict):
        return str(contract.get("title", ""))
    named = [str(body[field]) for field in ("silo", "recipient", "outcome", "cause", "reason") if field in body]
    return ", ".join(named)
