"""The jobs as a list: what waits for the owner first, then what is open, then the rest, newest first in each."""

from dataclasses import dataclass
from typing import Final

from protocol.ids import timestamp
from protocol.job_record import JobRecord
from silo_node.agent.job_answering import is_due, standing
from silo_node.agent.jobs import Jobs
from silo_node.agent.silo import Silo
from silo_node.console.paging import Cut, cut

SHOWN: Final = 20
HEADINGS: Final = ("Waiting for you", "Open", "Over")


@dataclass(frozen=True, slots=True)
class JobLine:
    """A job in the list."""

    record: JobRecord
    stands: str


@dataclass(frozen=True, slots=True)
class JobGroup:
    """Jobs under one heading; ``number`` is how many there are, on other pages too."""

    heading: str
    number: int
    lines: tuple[JobLine, ...]


def job_list(silo: Silo, jobs: Jobs, page: int) -> tuple[tuple[JobGroup, ...], Cut]:
    """The groups that have a line on ``page``, and where that page is among all."""
    newest = [*jobs.records.values()][::-1]
    placed = sorted(((_place(silo, jobs, record), record) for record in newest), key=lambda one: one[0])
    numbers = [sum(place == wanted for place, _ in placed) for wanted in range(len(HEADINGS))]
    where = cut(len(placed), SHOWN, page)
    shown = placed[where.first : where.first + SHOWN]
    groups = (
        JobGroup(heading, numbers[wanted], tuple(_line(silo, one) for place, one in shown if place == wanted))
        for wanted, heading in enumerate(HEADINGS)
    )
    return tuple(group for group in groups if group.lines), where


def jobs_waiting(silo: Silo, jobs: Jobs) -> int:
    """How many jobs wait for the owner."""
    return sum(_place(silo, jobs, record) == 0 for record in jobs.records.values())


def _place(silo: Silo, jobs: Jobs, record: JobRecord) -> int:
    if record.job in jobs.broken or not record.open_at(timestamp(silo.clock())):
        return 2
    return 0 if is_due(silo, record) else 1


def _line(silo: Silo, record: JobRecord) -> JobLine:
    return JobLine(record, standing(silo, record))
