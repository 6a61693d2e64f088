"""The studies as the log tells them to a process that lives long: only what is new is read again."""

from silo_node.agent.studies import Studies
from silo_node.agent.tasks import Tasks


class Reading:
    """What was read of the log so far. The running node writes the entries, each verified before."""

    def __init__(self, tasks: Tasks, party: str) -> None:
        self._tasks, self._party = tasks, party
        self._studies, self._last = Studies(()), -1
        self.leaves: dict[str, int] = {}
        """Where each statement of ``party`` stands in the log, by its digest."""

    def studies(self) -> Studies:
        """Every study, as far as the node has read the log by now."""
        for entry in self._tasks.entries(self._last):
            self._studies.take_in(entry)
            if entry.signed.body.issuer == self._party:
                self.leaves[entry.signed.digest] = entry.index
            self._last = entry.index
        return self._studies
