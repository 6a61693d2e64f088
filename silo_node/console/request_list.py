"""The requests as a list: what waits for the owner first, then what runs, then the rest, newest first in each."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from protocol.record import StudyRecord
from silo_node.agent.answering import is_due
from silo_node.agent.answers import standing
from silo_node.agent.silo import Silo
from silo_node.agent.tasks import Decided
from silo_node.console.paging import Cut, cut

SHOWN: Final = 20
HEADINGS: Final = ("Waiting for you", "Under way", "With the others", "Over")


@dataclass(frozen=True, slots=True)
class Line:
    """A study in the list."""

    study: str
    title: str
    lead: str
    dataset: str
    epsilon: float
    proposed: str
    stands: str


@dataclass(frozen=True, slots=True)
class Group:
    """Studies under one heading; ``number`` is how many there are, on other pages too."""

    heading: str
    number: int
    lines: tuple[Line, ...]


def request_list(silo: Silo, records: Iterable[StudyRecord], page: int) -> tuple[tuple[Group, ...], Cut]:
    """The groups that have a line on ``page``, and where that page is among all."""
    newest = sorted(records, key=lambda record: record.proposed_at, reverse=True)
    decided = silo.tasks.decided()
    placed = sorted(((_place(silo.name, record, decided), record) for record in newest), key=lambda one: one[0])
    numbers = [sum(place == wanted for place, _ in placed) for wanted in range(len(HEADINGS))]
    where = cut(len(placed), SHOWN, page)
    shown = placed[where.first : where.first + SHOWN]
    groups = (
        Group(heading, numbers[wanted], tuple(_line(silo, wanted, one) for place, one in shown if place == wanted))
        for wanted, heading in enumerate(HEADINGS)
    )
    return tuple(group for group in groups if group.lines), where


def _place(silo: str, record: StudyRecord, decided: Decided) -> int:
    """The index of the study's heading."""
    if is_due(silo, record, decided):
        return 0
    left = silo in {*record.refused, *record.gone} or record.study in decided.halted
    if record.closed is not None or left:
        return 3
    return 1 if silo in record.accepted else 2


def _line(silo: Silo, place: int, record: StudyRecord) -> Line:
    contract = record.contract
    return Line(
        record.study,
        contract.title,
        contract.lead,
        contract.data.dataset,
        contract.privacy.epsilon,
        record.proposed_at,
        _due(silo, record) if place == 0 else _first(standing(silo, record)),
    )


def _due(silo: Silo, record: StudyRecord) -> str:
    if silo.name in record.paused:
        return "paused: may it go on?"
    if silo.tasks.held(record.study) is not None:
        return "may the next round be computed here?"
    return "may the result be released?" if record.requested else "may this be computed here?"


def _first(sentences: str) -> str:
    """Without what follows a colon: the study's own page says the whole."""
    return sentences.partition(":")[0]
