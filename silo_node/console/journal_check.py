"""The journal's whole check, kept with its time: it reads every entry, so it isn't made at every page."""

from dataclasses import dataclass
from datetime import datetime

from silo_node.agent.review import Reviewed, review
from silo_node.agent.silo import Silo
from silo_node.errors import JournalDamaged


@dataclass(frozen=True, slots=True)
class Found:
    """What the last check found, and when. ``problem`` is empty for a journal that holds."""

    at: datetime
    reviewed: Reviewed | None
    problem: str


class JournalCheck:
    """Made at the console's start, and again whenever the owner asks."""

    def __init__(self, silo: Silo) -> None:
        self._silo = silo
        self.found = self.run()

    def run(self) -> Found:
        at = self._silo.clock()
        try:
            reviewed = review(self._silo.voice.journal, self._silo.tasks, self._silo.identity.party)
            self.found = Found(at, reviewed, "")
        except JournalDamaged as problem:
            self.found = Found(at, None, str(problem))
        return self.found
