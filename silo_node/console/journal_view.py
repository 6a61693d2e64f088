"""The journal as its page shows it: what left, when, to whom and why, a page of a period at a time."""

from dataclasses import dataclass
from typing import Final

from protocol.journal import JournalEvent
from protocol.period import parse_period
from silo_node.console.desk import Desk
from silo_node.console.paging import Cut, cut
from silo_node.journal.chain import JournalEntry

SHOWN: Final = 50
_WHY: Final = {
    "statement": "signed by this silo",
    "cosignature": "this silo as a witness of the log",
    "chunk": "a sealed part of this silo's update",
    "shares": "sealed shares of this silo's masks",
    "blob": "a released model, sealed for its recipient",
    "decision": "decided here; nothing left",
    "warning": "noted here; nothing left",
    "halt": "stopped here; nothing left",
    "self-test": "what this machine computes with was tested; nothing left",
}


@dataclass(frozen=True, slots=True)
class Asked:
    """A period and a study, as they were typed."""

    since: str = ""
    until: str = ""
    study: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """A line: ``title`` is the study's, ``leaf`` where the hub's log holds the statement."""

    at: JournalEntry
    why: str
    title: str
    leaf: int | None

    @property
    def event(self) -> JournalEvent:
        return self.at.event


def journal_view(desk: Desk, asked: Asked, page: int) -> tuple[tuple[Entry, ...], Cut]:
    """Raises ``Malformed`` for a period that is none, ``JournalDamaged`` for an entry that doesn't fit."""
    period, journal = parse_period(asked.since or None, asked.until or None), desk.silo.voice.journal
    entries, total = journal.newest(period, asked.study, (page - 1) * SHOWN, SHOWN)
    where = cut(total, SHOWN, page)
    if where.page != page:
        entries, _ = journal.newest(period, asked.study, where.first, SHOWN)
    studies = desk.studies()
    titles = {study: record.contract.title for study, record in studies.records.items()}
    return tuple(_entry(desk, titles, one) for one in entries), where


def _entry(desk: Desk, titles: dict[str, str], entry: JournalEntry) -> Entry:
    event = entry.event
    leaf = desk.reading.leaves.get(event.digest or "")
    return Entry(entry, _WHY[event.kind], titles.get(event.study or "", ""), leaf)
