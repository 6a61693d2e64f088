"""A study as this silo stands in it."""

from dataclasses import dataclass

from protocol.charter import Charter
from protocol.record import StudyRecord


@dataclass(frozen=True, slots=True)
class Study:
    """What the log says of a study, and the charter in force.

    ``lead_known``: this silo accepted another study of the same lead.
    """

    record: StudyRecord
    charter: Charter
    lead_known: bool = False

    @property
    def id(self) -> str:
        return self.record.study

    @property
    def people(self) -> frozenset[str]:
        return frozenset(person.person for person in self.charter.people)
