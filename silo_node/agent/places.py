"""Where each statement of this silo stands in the hub's log, as far as this silo has read it."""

from dataclasses import dataclass

from protocol.ids import timestamp
from protocol.journal import JournalEvent
from protocol.translog import Checkpoint
from silo_node.agent.review import Reviewed
from silo_node.agent.tasks import Tasks


@dataclass(frozen=True, slots=True)
class Inclusion:
    """The leaf of a statement, and the checkpoint under which this silo verified that the log includes it."""

    leaf: int
    size: int
    root: str
    signed_at: str | None

    def __str__(self) -> str:
        when = "" if self.signed_at is None else f", {self.signed_at.replace('T', ' ')}"
        return f"in the log at {self.leaf}; checkpoint of {self.size} leaves, root {self.root[:8]}{when}"


class Places:
    """Where the statements of ``party`` stand. ``reviewed`` tells how far its journal is covered by the log."""

    def __init__(self, tasks: Tasks, party: str, reviewed: Reviewed) -> None:
        self._tasks, self._through = tasks, reviewed.logged_through
        self._leaves = {claim.digest: index for index, claim in tasks.logged(party, enrolments=True)}
        self._kept = {claim.digest for claim in tasks.claims()}

    def inclusion(self, event: JournalEvent) -> Inclusion | None:
        leaf = self._leaves.get(event.digest or "")
        view = None if leaf is None else self._tasks.verified_under(leaf)
        if leaf is None or view is None:
            return None
        return Inclusion(leaf, view.size, view.root.hex(), _signed_at(view.note))

    def absence(self, index: int, event: JournalEvent) -> str:
        """Why the statement of entry ``index`` is not in the log, as far as this silo can tell."""
        if event.digest in self._leaves:
            return f"in the log at {self._leaves[event.digest]}; no checkpoint of then is kept"
        if event.digest not in self._kept and event.what != "enrolment":
            return "not in the log: never sent, the node ended before it was kept"
        if index < self._through:
            return "NOT IN THE LOG, though later ones are: refused by the hub, or withheld"
        return "not in the log yet, as far as this silo has read it"


def _signed_at(note: str) -> str | None:
    signed = Checkpoint.parse(note.partition("\n\n")[0] + "\n").signed_at
    return None if signed is None else timestamp(signed)
